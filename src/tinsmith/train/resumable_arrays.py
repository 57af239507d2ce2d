"""Append-only arrays on disk that resume after a crash."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.base.progress import Progress
from tinsmith.tokens.shards import TokenSet

Rows = dict[str, NDArray[Any]]


class ResumableArrays:
    """Columns of numbers, each a plain file in `directory`, and the facts that they were computed from.

    `columns` gives the type and width of each, such as {"ids": ("<u4", 8)}. Files grow by whole blocks, so their
    sizes record what is done.
    """

    def __init__(
        self, directory: Path, columns: Mapping[str, tuple[str, int]], facts: Mapping[str, Any]
    ) -> None:
        """Open or create the arrays. Raises TrainingError where the directory's were computed from other facts."""
        self._directory, self._columns = directory, dict(columns)
        facts = {**facts, "columns": {name: list(column) for name, column in columns.items()}}
        path = directory / "facts.json"
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            for name in columns:
                self._path(name).unlink(missing_ok=True)
            write_json(path, facts)
        elif (before := read_json(path)) != facts:
            names = sorted(name for name in before.keys() | facts if before.get(name) != facts.get(name))
            raise TrainingError(
                f"was computed for another run: {', '.join(names)} differ",
                where=str(directory),
                next_step=f"remove {directory} to compute it again",
            )

    def count(self) -> int:
        """Count the rows that are complete in every column."""
        return min(self._size(name) // self._row_bytes(name) for name in self._columns)

    def fill(
        self, sizes: Sequence[int], compute: Callable[[int], Rows], what: str, progress: Progress
    ) -> Rows:
        """Call compute(block) for each missing block of `sizes` rows; return all columns, memory-mapped."""
        ends, done = np.cumsum(sizes), self.count()
        first = int(np.searchsorted(ends, done, side="right"))
        start = int(ends[first - 1]) if first else 0
        with (
            contextlib.ExitStack() as stack,
            progress.task(what, int(ends[-1]) - start, "rows") as advance,
        ):
            files = {name: stack.enter_context(self._path(name).open("ab")) for name in self._columns}
            for name, file in files.items():
                file.truncate(start * self._row_bytes(name))
            for block in range(first, len(sizes)):
                rows = compute(block)
                for name, file in files.items():
                    dtype, width = self._columns[name]
                    values = np.ascontiguousarray(rows[name], dtype=dtype)
                    assert values.size == sizes[block] * width
                    file.write(values.tobytes())
                    file.flush()
                    os.fsync(file.fileno())
                advance(sizes[block])
        return {name: self._map(name) for name in self._columns}

    def _map(self, name: str) -> NDArray[Any]:
        dtype, width = self._columns[name]
        return np.memmap(self._path(name), dtype=dtype, mode="r").reshape(-1, width)

    def _row_bytes(self, name: str) -> int:
        dtype, width = self._columns[name]
        return np.dtype(dtype).itemsize * width

    def _size(self, name: str) -> int:
        return self._path(name).stat().st_size if self._path(name).exists() else 0

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.bin"


def digest(tokens: TokenSet) -> str:
    """Hash a token set: its tokens, target marks and order."""
    total = sha256()
    for values in (tokens.ids, tokens.marks, tokens.offsets, tokens.lengths):
        total.update(np.ascontiguousarray(values).data)
    return total.hexdigest()


def fingerprint(weights: Iterable[tuple[str, Tensor]]) -> str:
    """Hash the names, shapes and sums of bytes of some weights: enough to recognise a model."""
    total = sha256()
    for name, weight in weights:
        # A sum of whole numbers is the same on any number of threads.
        amount = int(weight.detach().flatten().view(torch.uint8).sum(dtype=torch.int64))
        total.update(f"{name} {tuple(weight.shape)} {amount}".encode())
    return total.hexdigest()


def sequence_runs(tokens: TokenSet) -> list[range]:
    """Divide the groups of a token set into runs of at most `context` tokens, or of one group.

    Runs depend on the tokens only, so cached results do not depend on how steps are made.
    """
    lengths = tokens.lengths.reshape(-1, tokens.group).sum(axis=1)
    blocks, start, load = [], 0, 0
    for group, length in enumerate(lengths.tolist()):
        if load and load + length > tokens.context:
            blocks.append(range(start, group))
            start, load = group, 0
        load += length
    return [*blocks, range(start, len(lengths))]
