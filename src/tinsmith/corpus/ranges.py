"""Rows divided among files by a number, so that each file is small enough to be read whole."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

_PENDING_BYTES = 64_000_000  # of all files together
_DIGITS = 7


class RangeWriter:
    """Parquet files NUMBER.parquet in a folder; rows wait in memory until there are 64 MB of them."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True)
        self.folder, self.schema = folder, schema
        self.writers: dict[int, pq.ParquetWriter] = {}
        self.pending: dict[int, list[pa.Table]] = {}
        self.size = 0

    def __enter__(self) -> RangeWriter:
        return self

    def add(self, table: pa.Table, numbers: NDArray[np.int64]) -> None:
        """Append each row to the file of its number, (N,)."""
        table = table.select(self.schema.names).cast(self.schema)
        order = np.argsort(numbers, kind="stable")
        ordered, sizes = table.take(pa.array(order)), numbers[order]
        edges = np.flatnonzero(np.diff(sizes)) + 1
        for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(sizes)]):
            if end > start:
                self.pending.setdefault(int(sizes[start]), []).append(ordered.slice(start, end - start))
        self.size += table.nbytes
        if self.size >= _PENDING_BYTES:
            self._flush()

    def _flush(self) -> None:
        for number in sorted(self.pending):
            if number not in self.writers:
                self.writers[number] = pq.ParquetWriter(
                    range_file(self.folder, number), self.schema, compression="zstd", compression_level=1
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


def range_file(folder: Path, number: int) -> Path:
    """Return the file of a number, which is there if a row has it."""
    return folder / f"{number}.parquet"


def range_of_doc_ids(doc_ids: pa.ChunkedArray, count: int) -> NDArray[np.int64]:
    """Return in which of `count` equal ranges each doc_id lies, (N,): they are hashes, so ranges fill evenly."""
    opening = pc.utf8_slice_codeunits(doc_ids, 0, _DIGITS).to_pylist()
    return np.array([int(each, 16) for each in opening], dtype=np.int64) * count // 16**_DIGITS
