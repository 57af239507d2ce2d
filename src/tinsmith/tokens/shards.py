"""Token sets on disk: a file of ids, a file of target marks, and an index of the sequences."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, read_jsonl, write_json, write_jsonl
from tinsmith.tokens.tasks import unit_hash

_REBUILD = "delete this directory and build again"


@dataclass(frozen=True)
class Entry:
    """One sequence: `order` is its number within its document, `task` the task that it ends with, or empty."""

    doc_id: str
    offset: int
    length: int
    order: int
    task: str


class ShardWriter:
    """Append sequences to `tokens.bin` and `supervised.bin`; `close` writes the index and `tokens.json`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.entries: list[Entry] = []
        self.tokens = self.supervised = 0
        self._ids = (directory / "tokens.bin").open("wb")
        self._marks = (directory / "supervised.bin").open("wb")

    def add(self, doc_id: str, order: int, ids: Sequence[int], marks: Sequence[int], task: str = "") -> None:
        """Append one sequence. Its first token is never a target, since nothing precedes it."""
        assert len(ids) == len(marks) > 0
        marks = [0, *marks[1:]]
        self._ids.write(np.asarray(ids, dtype="<u4").tobytes())
        self._marks.write(np.asarray(marks, dtype=np.uint8).tobytes())
        self.entries.append(Entry(doc_id, self.tokens, len(ids), order, task))
        self.tokens += len(ids)
        self.supervised += sum(marks)

    def close(self, order: Sequence[int], facts: dict[str, Any]) -> None:
        """Write the index in visiting order, and `facts` (context, vocabulary, ...) to `tokens.json`."""
        self._ids.close()
        self._marks.close()
        write_jsonl(self.directory / "sequences.jsonl", (asdict(self.entries[i]) for i in order))
        write_json(self.directory / "tokens.json", {"tokens": self.tokens, **facts})


def visiting_order(sequences: Sequence[tuple[int, str]], seed: int) -> list[int]:
    """Order sequences (part number, doc_id): all first parts, then all second parts; documents in seeded order."""
    rank = {doc_id: (unit_hash(seed, "visit", doc_id), doc_id) for _, doc_id in sequences}
    return sorted(range(len(sequences)), key=lambda i: (sequences[i][0], rank[sequences[i][1]]))


class TokenSet:
    """Memory-mapped training tokens; sequences are numbered in visiting order."""

    def __init__(self, directory: Path) -> None:
        """Open a finished token set. Raises TrainingError if it is empty or its files disagree."""
        facts = read_json(directory / "tokens.json")
        self.context, self.vocabulary = int(facts["context"]), int(facts["vocabulary"])
        # How many consecutive sequences belong together, such as the two answers of a preference.
        self.group = int(facts.get("group", 1))
        rows = list(read_jsonl(directory / "sequences.jsonl"))
        sizes = [(directory / name).stat().st_size for name in ("tokens.bin", "supervised.bin")]
        tokens = facts["tokens"]
        if sizes != [4 * tokens, tokens] or sum(row["length"] for row in rows) != tokens:
            raise TrainingError(
                "the token files do not match their index", where=str(directory), next_step=_REBUILD
            )
        if not rows:
            more = "add documents, or see curate/rejects.parquet for what was dropped"
            raise TrainingError("there are no tokens to train on", where=str(directory), next_step=more)
        self.ids: NDArray[np.uint32] = np.memmap(directory / "tokens.bin", dtype="<u4", mode="r")
        self.marks: NDArray[np.uint8] = np.memmap(directory / "supervised.bin", dtype=np.uint8, mode="r")
        self.offsets, self.lengths, self.orders = (
            np.array([row[name] for row in rows], dtype=np.int64) for name in ("offset", "length", "order")
        )
        if not self.marks.any():
            more = "use documents longer than one token"
            raise TrainingError("no token is a target", where=str(directory), next_step=more)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Return the number of all tokens."""
        return int(self.lengths.sum())

    def subset(self, numbers: Sequence[int]) -> TokenSet:
        """Return a set of some of the sequences, numbered in the given order; group size 1."""
        assert self.group == 1
        chosen = copy.copy(self)
        chosen.offsets, chosen.lengths, chosen.orders = (
            values[list(numbers)] for values in (self.offsets, self.lengths, self.orders)
        )
        return chosen

    def sequence(self, number: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Return ids and target marks of one sequence."""
        span = slice(self.offsets[number], self.offsets[number] + self.lengths[number])
        return self.ids[span], self.marks[span]
