"""Tables of documents too big for memory: written in small row groups, read in slices of doc_id."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.corpus.engine import DataFrame, col, read_parquet

_SLICE_BYTES = 128_000_000
_GROUP_BYTES = 16_000_000
_HEX = 16


class TableWriter:
    """A Parquet file in row groups of bounded bytes, so that readers stream; it bears its name when whole."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.partial = path, path.with_name(f".{path.name}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.writer = pq.ParquetWriter(self.partial, schema, compression="zstd")
        self.schema, self.size, self.rows = schema, 0, 0
        self.pending: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Append rows, of columns that hold at least the schema's."""
        self.pending.append(table.select(self.schema.names).cast(self.schema))
        self.size += table.nbytes
        self.rows += table.num_rows
        if self.size >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        whole = pa.concat_tables(self.pending)
        rows = max(1, whole.num_rows * _GROUP_BYTES // max(1, self.size))
        self.writer.write_table(whole, row_group_size=rows)
        self.pending, self.size = [], 0

    def close(self) -> None:
        """Write the rest and give the file its name."""
        if self.pending:
            self._flush()
        self.writer.close()
        os.replace(self.partial, self.path)


def slices(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ranges [low, high) of doc_id, which are hashes and so lie evenly, of about 128 MB of a file's data."""
    metadata = pq.read_metadata(path)
    held = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    digits, count = 1, -(-held // _SLICE_BYTES)
    while _HEX**digits < count:
        digits += 1
    most = _HEX**digits
    edges = [f"{most * number // count:0{digits}x}" for number in range(1, count)]
    yield from zip(["", *edges], [*edges, "\U0010ffff"], strict=True)


def in_slice(path: Path, low: str, high: str) -> DataFrame:
    """Return the rows of a file whose doc_id lies in [low, high)."""
    return read_parquet(str(path)).where((col("doc_id") >= low) & (col("doc_id") < high))


def sort_table(source: Path, target: Path) -> None:
    """Write the rows of `source` sorted by doc_id, a slice at a time."""
    writer = TableWriter(target, pq.read_schema(source))
    for low, high in slices(source):
        writer.add(in_slice(source, low, high).sort("doc_id").to_arrow())
    writer.close()
