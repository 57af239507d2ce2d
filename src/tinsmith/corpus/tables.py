"""Parquet tables larger than memory: written in bounded row groups, read in ranges of doc_id."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.base.files import atomic_path
from tinsmith.corpus.engine import DataFrame, col, read_parquet

_GROUP_BYTES = 16_000_000  # of a row group
_GROUP_ROWS = 20_000  # single rows that wait to become a table
_RANGE_BYTES = 128_000_000
_HEX = 16
Advance = Callable[[float], None]


class TableWriter:
    """Write a Parquet file in row groups of bounded bytes, so that readers can stream it.

    The file gets its name when the block ends; after an error nothing is left of it.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.rows = self._bytes = 0
        self._tables: list[pa.Table] = []
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> TableWriter:
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(atomic_path(self.path))
            self._writer = stack.enter_context(pq.ParquetWriter(partial, self.schema, compression="zstd"))
            self._open = stack.pop_all()
        return self

    def add(self, table: pa.Table) -> None:
        """Append a table that has at least the columns of the schema."""
        self._gather_rows()
        self.rows += table.num_rows
        self._append(table.select(self.schema.names).cast(self.schema))

    def add_row(self, row: dict[str, Any]) -> None:
        """Append one row."""
        self.rows += 1
        self._rows.append(row)
        self._bytes += sum(len(value) for value in row.values() if isinstance(value, str))
        if self._bytes >= _GROUP_BYTES or len(self._rows) >= _GROUP_ROWS:
            self._gather_rows()

    def _gather_rows(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self.schema)
            self._rows, self._bytes = [], sum(each.nbytes for each in self._tables)
            self._append(table)

    def _append(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._bytes += table.nbytes
        if self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        whole = pa.concat_tables(self._tables)
        self._writer.write_table(
            whole, row_group_size=max(1, whole.num_rows * _GROUP_BYTES // max(1, self._bytes))
        )
        self._tables, self._bytes = [], 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:
            self._gather_rows()
            if self._tables:
                self._flush()


def data_bytes(path: Path) -> int:
    """Return the bytes of a Parquet file's data, uncompressed."""
    metadata = pq.read_metadata(path)
    return sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))


def doc_id_ranges(total_bytes: int) -> list[tuple[str, str]]:
    """Divide all doc_ids into ranges [low, high) of about 128 MB each: doc_ids are hashes, so they lie evenly."""
    digits, count = 1, max(1, -(-total_bytes // _RANGE_BYTES))
    while _HEX**digits < count:
        digits += 1
    edges = [f"{_HEX**digits * number // count:0{digits}x}" for number in range(1, count)]
    return list(zip(["", *edges], [*edges, "\U0010ffff"], strict=True))


def read_range(path: Path, low: str, high: str) -> DataFrame:
    """Return the rows of a file whose doc_id lies in [low, high)."""
    return in_range(read_parquet(str(path)), low, high)


def in_range(documents: DataFrame, low: str, high: str) -> DataFrame:
    """Return the documents whose doc_id lies in [low, high)."""
    return documents.where((col("doc_id") >= low) & (col("doc_id") < high))


def text_bytes(documents: DataFrame) -> int:
    """Return the bytes of all text in a frame."""
    total = documents.select(col("text").length_bytes().alias("bytes")).sum("bytes").to_pydict()["bytes"][0]
    return int(total or 0)


def iterate_ranges(documents: DataFrame, total_bytes: int) -> Iterator[DataFrame]:
    """Yield the documents in frames of about 128 MB of text, in order of doc_id from frame to frame."""
    for low, high in doc_id_ranges(total_bytes):
        yield in_range(documents, low, high)


def iterate_texts(documents: DataFrame, advance: Advance | None = None) -> Iterator[tuple[str, str]]:
    """Yield (doc_id, text) of all documents, in the order of the frame; advance by documents."""
    for batch in documents.select("doc_id", "text").to_arrow_iter():
        yield from zip(batch.column("doc_id").to_pylist(), batch.column("text").to_pylist(), strict=True)
        if advance:
            advance(batch.num_rows)


def sort_table(source: Path, target: Path) -> None:
    """Write the rows of `source` sorted by doc_id, one range at a time."""
    with TableWriter(target, pq.read_schema(source)) as writer:
        for low, high in doc_id_ranges(data_bytes(source)):
            writer.add(read_range(source, low, high).sort("doc_id").to_arrow())
