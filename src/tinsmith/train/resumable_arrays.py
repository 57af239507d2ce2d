"""Rows of numbers that are computed once, kept on disk, and gone on with after a kill."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.base.progress import Progress
from tinsmith.tokens.shards import TokenSet

Rows = dict[str, NDArray[Any]]


class RowFile:
    """Columns of a table, each a plain file of numbers in `directory`, with the facts that they hang on.

    `columns` gives the type and the width of each, such as {"ids": ("<u4", 8)}. The files grow by whole blocks, so
    their sizes are the record of what is done; nothing in them is older than the facts beside them.
    """

    def __init__(
        self, directory: Path, columns: Mapping[str, tuple[str, int]], facts: Mapping[str, Any]
    ) -> None:
        """Open or begin a table. Raises TrainingError where the directory holds one made from other facts."""
        self._directory, self._columns = directory, dict(columns)
        self._facts = {**facts, "columns": {name: list(column) for name, column in columns.items()}}
        path = directory / "facts.json"
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            for name in columns:
                (directory / f"{name}.bin").unlink(missing_ok=True)
            write_json(path, self._facts)
        elif differing := _differing(read_json(path), self._facts):
            raise TrainingError(
                f"was made for another run: {', '.join(differing)} differ",
                where=str(directory),
                next_step=f"remove {directory} to compute it anew",
            )

    def count(self) -> int:
        """Count the rows that are whole in every column."""
        return min(self._size(name) // self._bytes(name) for name in self._columns)

    def fill(
        self, sizes: Sequence[int], compute: Callable[[int], Rows], what: str, progress: Progress
    ) -> Rows:
        """Have compute(block) make what is missing of blocks of `sizes` rows; return all columns, memory-mapped."""
        ends, done = np.cumsum(sizes), self.count()
        first = int(np.searchsorted(ends, done, side="right"))
        start = int(ends[first - 1]) if first else 0
        with (
            contextlib.ExitStack() as stack,
            progress.task(what, int(ends[-1]) - start, "rows") as advance,
        ):
            files = {
                name: stack.enter_context((self._directory / f"{name}.bin").open("ab"))
                for name in self._columns
            }
            for name, file in files.items():
                file.truncate(start * self._bytes(name))
            for block in range(first, len(sizes)):
                rows = compute(block)
                for name, file in files.items():
                    kind, width = self._columns[name]
                    values = np.ascontiguousarray(rows[name], dtype=kind)
                    assert values.size == sizes[block] * width
                    file.write(values.tobytes())
                    file.flush()
                    os.fsync(file.fileno())
                advance(sizes[block])
        return {name: self._map(name) for name in self._columns}

    def _map(self, name: str) -> NDArray[Any]:
        kind, width = self._columns[name]
        path = self._directory / f"{name}.bin"
        return np.memmap(path, dtype=kind, mode="r").reshape(-1, width)

    def _bytes(self, name: str) -> int:
        kind, width = self._columns[name]
        return np.dtype(kind).itemsize * width

    def _size(self, name: str) -> int:
        path = self._directory / f"{name}.bin"
        return path.stat().st_size if path.exists() else 0


def digest(tokens: TokenSet) -> str:
    """Hash the tokens, their marks and the order of the sequences: what rows of numbers about them hang on."""
    total = sha256()
    for values in (tokens.ids, tokens.marks, tokens.offsets, tokens.lengths):
        total.update(np.ascontiguousarray(values).data)
    return total.hexdigest()


def sequence_runs(tokens: TokenSet) -> list[range]:
    """Divide the groups of a token set into runs of at most `context` tokens, or of one group.

    They hang on nothing but the tokens, so what is computed from a block is the same whatever a step looks like.
    """
    lengths = tokens.lengths.reshape(-1, tokens.group).sum(axis=1)
    blocks, start, load = [], 0, 0
    for group, length in enumerate(lengths.tolist()):
        if load and load + length > tokens.context:
            blocks.append(range(start, group))
            start, load = group, 0
        load += length
    return [*blocks, range(start, len(lengths))]


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
