"""What a step of refine returns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from tinsmith.corpus.tables import TableWriter

# One row for each document that the step drops (text is null) or changes.
DECISIONS = pa.schema(
    [("doc_id", pa.string()), ("reason", pa.string()), ("detail", pa.string()), ("text", pa.string())]
)


class StepResult(NamedTuple):
    """Where a step wrote its decisions (Parquet, schema DECISIONS), and its statistics by name."""

    decisions: Path
    statistics: dict[str, float]


def write_decisions(path: Path, tables: Iterable[pa.Table]) -> Path:
    """Write decisions as one Parquet file in order of doc_id; the tables follow each other in that order."""
    with TableWriter(path, DECISIONS) as writer:
        for table in tables:
            writer.add(table.sort_by("doc_id"))
    return path
