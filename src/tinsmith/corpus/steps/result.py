"""What a step of refine receives and returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import DataFrame, col
from tinsmith.corpus.tables import TableWriter

# One row for each document that the step drops (text is null) or changes.
DECISIONS = pa.schema(
    [("doc_id", pa.string()), ("reason", pa.string()), ("detail", pa.string()), ("text", pa.string())]
)


class Teacher(Protocol):
    """A language model that a step may ask."""

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer | Failure]:
        """Yield one outcome per request, in order."""

    def statistics(self) -> dict[str, float]:
        """Return what the requests cost so far."""


@dataclass(frozen=True)
class StepInput:
    """What a step receives: the training documents that earlier steps left, and the held-out ones to compare with.

    `out` is the step's own folder for evidence. `teacher` is there if the step's section names one; it may read
    documents with the labels `shown_access`, or all if that is None.
    """

    documents: DataFrame
    held_out: DataFrame
    out: Path
    seed: int
    progress: Progress
    teacher: Teacher | None = None
    shown_access: tuple[str, ...] | None = None

    @property
    def shown(self) -> DataFrame:
        """Return the training documents that the teacher may read."""
        if self.shown_access is None:
            return self.documents
        return self.documents.where(col("access").fill_null("").is_in(list(self.shown_access)))


class StepResult(NamedTuple):
    """What a step returns: statistics by name, and the files of its decisions (DECISIONS) or of documents to add."""

    statistics: dict[str, float]
    decisions: Path | None = None
    added: Path | None = None


def write_decisions(path: Path, tables: Iterable[pa.Table]) -> Path:
    """Write decisions as one Parquet file in order of doc_id; the tables follow each other in that order."""
    with TableWriter(path, DECISIONS) as writer:
        for table in tables:
            writer.add(table.sort_by("doc_id"))
    return path
