"""Pass over the documents of a frame in parts of bounded size, in order of doc_id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from tinsmith.corpus.engine import DataFrame, col
from tinsmith.corpus.steps.result import DECISIONS
from tinsmith.corpus.tables import TableWriter

_PART_BYTES = 128_000_000
_HEX = 16


def text_bytes(documents: DataFrame) -> int:
    """Return how many bytes of text a frame's column `text` holds in all."""
    total = documents.select(col("text").length_bytes().alias("bytes")).sum("bytes").to_pydict()["bytes"][0]
    return int(total or 0)


def doc_id_ranges(total: int) -> list[tuple[str, str]]:
    """Return ranges [low, high) of doc_id, which are hashes and so lie evenly, for so many bytes of text."""
    count = max(1, -(-total // _PART_BYTES))
    digits = 1
    while _HEX**digits < count:
        digits += 1
    edges = [f"{_HEX**digits * number // count:0{digits}x}" for number in range(1, count)]
    return list(zip(["", *edges], [*edges, "\U0010ffff"], strict=True))


def sorted_parts(documents: DataFrame, total: int) -> Iterator[DataFrame]:
    """Yield frames of about 128 MB of text each; together they are the documents in order of doc_id."""
    for low, high in doc_id_ranges(total):
        yield documents.where((col("doc_id") >= low) & (col("doc_id") < high))


def write_sorted(path: Path, parts: Iterable[pa.Table]) -> Path:
    """Write decisions, a table for each of `sorted_parts`, as one Parquet file in order of doc_id."""
    writer = TableWriter(path, DECISIONS)
    for part in parts:
        writer.add(part.sort_by("doc_id"))
    writer.close()
    return path
