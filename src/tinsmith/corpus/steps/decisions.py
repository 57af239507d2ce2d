"""Carry out the decisions of a refine step: drop documents, or replace their text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tinsmith.corpus.engine import col
from tinsmith.corpus.tables import TableWriter, data_bytes, doc_id_ranges, read_range


class Removed(NamedTuple):
    """What a step removed for one reason: whole documents, and bytes of text in total."""

    reason: str
    documents: int
    bytes: int


def apply_decisions(source: Path, decisions: Path, target: Path) -> list[Removed]:
    """Write the documents that a step keeps, with their new text, sorted by doc_id; return what it removed by reason.

    Both files are read in ranges of doc_id, so that memory holds one range at a time.
    """
    if not pq.read_metadata(decisions).num_rows:
        _link_or_copy(source, target)
        return []
    documents: Counter[str] = Counter()
    size: Counter[str] = Counter()
    with TableWriter(target, pq.read_schema(source)) as writer:
        for low, high in doc_id_ranges(data_bytes(source)):
            table = _joined(source, decisions, low, high)
            for reason, is_dropped, removed_bytes in _count(table):
                documents[reason] += is_dropped
                size[reason] += removed_bytes
            dropped = pc.and_(pc.is_valid(table["reason"]), pc.is_null(table["new_text"]))
            stay = table.filter(pc.invert(dropped))
            text = pc.coalesce(stay["new_text"], stay["text"])
            writer.add(stay.set_column(stay.column_names.index("text"), "text", text))
    return [Removed(reason, documents[reason], size[reason]) for reason in sorted(size)]


def _joined(source: Path, decisions: Path, low: str, high: str) -> pa.Table:
    decided = read_range(decisions, low, high).select("doc_id", "reason", col("text").alias("new_text"))
    return read_range(source, low, high).join(decided, on="doc_id", how="left").sort("doc_id").to_arrow()


def _count(table: pa.Table) -> Iterator[tuple[str, int, int]]:
    changed = table.filter(pc.is_valid(table["reason"]))
    before = pc.binary_length(changed["text"]).to_pylist()
    after = pc.binary_length(changed["new_text"]).to_pylist()
    for reason, old, new in zip(changed["reason"].to_pylist(), before, after, strict=True):
        yield reason, int(new is None), old - (new or 0)


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # The target is on another file system, or links are not supported.
        target.write_bytes(source.read_bytes())
