"""Partition rows among files by a number, so that each file can be read whole."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

_PENDING_BYTES = 64_000_000  # of all partitions together
_HEX_DIGITS = 7


class PartitionWriter:
    """Write Parquet files NUMBER.parquet in a folder; up to 64 MB of rows wait in memory."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True)
        self.folder, self.schema = folder, schema
        self.writers: dict[int, pq.ParquetWriter] = {}
        self.pending: dict[int, list[pa.Table]] = {}
        self.size = 0

    def __enter__(self) -> PartitionWriter:
        return self

    def add(self, table: pa.Table, partitions: NDArray[np.int64]) -> None:
        """Append each row to the file of its partition (N,)."""
        table = table.select(self.schema.names).cast(self.schema)
        order = np.argsort(partitions, kind="stable")
        ordered, numbers = table.take(pa.array(order)), partitions[order]
        edges = np.flatnonzero(np.diff(numbers)) + 1
        for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(numbers)]):
            if end > start:
                self.pending.setdefault(int(numbers[start]), []).append(ordered.slice(start, end - start))
        self.size += table.nbytes
        if self.size >= _PENDING_BYTES:
            self._flush()

    def _flush(self) -> None:
        for number in sorted(self.pending):
            if number not in self.writers:
                self.writers[number] = pq.ParquetWriter(
                    partition_file(self.folder, number), self.schema, compression="zstd", compression_level=1
                )
            self.writers[number].write_table(pa.concat_tables(self.pending[number]))
        self.pending, self.size = {}, 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        for writer in self.writers.values():
            writer.close()


def partition_file(folder: Path, number: int) -> Path:
    """Return the file of a partition; it exists if the partition has rows."""
    return folder / f"{number}.parquet"


def partition_doc_ids(doc_ids: pa.ChunkedArray, count: int) -> NDArray[np.int64]:
    """Return which of `count` equal ranges each doc_id lies in (N,); doc_ids are hashes, so ranges fill evenly."""
    prefixes = pc.utf8_slice_codeunits(doc_ids, 0, _HEX_DIGITS).to_pylist()
    return np.array([int(prefix, 16) for prefix in prefixes], dtype=np.int64) * count // 16**_HEX_DIGITS
