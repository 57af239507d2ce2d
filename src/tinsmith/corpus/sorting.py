"""Judged documents into sorted files: exact copies named, what finds near-duplicates written apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tinsmith.corpus.dedup.proposals import SketchFile, keys_schema
from tinsmith.corpus.dedup.search import Signed
from tinsmith.corpus.dedup.signatures import Banding
from tinsmith.corpus.document_filter import SILENT
from tinsmith.corpus.ranges import range_file

_FIRST = pa.schema([("row", pa.int64())])


class Sorter:
    """Number documents in order of doc_id and source, file after file, and write what compares them.

    Equal texts bear one doc_id, so they lie in one file, next to each other: all but the first are exact copies.
    """

    def __init__(self, work: Path, banding: Banding | None) -> None:
        self.folder = work / "sorted"
        self.folder.mkdir(parents=True)
        self.banding = banding
        self.files: list[Path] = []
        self.rows = 0
        self.sizes: list[np.ndarray] = []
        if banding is not None:
            self.keys = pq.ParquetWriter(work / "keys.parquet", keys_schema(banding))
            self.first = pq.ParquetWriter(work / "first.parquet", _FIRST)
            self.sketches = (work / "sketches.bin").open("wb")

    def add(self, path: Path) -> None:
        """Sort the documents of a file of judged ones, name the copies, write them."""
        table = pq.read_table(path).sort_by([("doc_id", "ascending"), ("source", "ascending")])
        table = table.combine_chunks()
        rows = np.arange(self.rows, self.rows + len(table))
        table, originals = _name_copies(table)
        if self.banding is not None:
            self._sign(table, rows, originals)
        table = table.drop_columns(["bands", "sketch"]).append_column("row", pa.array(rows))
        target = range_file(self.folder, len(self.files))
        pq.write_table(table, target, compression="zstd", compression_level=1)
        self.files.append(target)
        self.sizes.append(table["bytes"].to_numpy())
        self.rows += len(table)

    def _sign(self, table: pa.Table, rows: np.ndarray, originals: np.ndarray) -> None:
        assert self.banding is not None
        signed = pc.is_valid(table["bands"]).to_numpy()
        chosen = np.flatnonzero(signed & originals)
        bands = table["bands"].take(pa.array(chosen)).combine_chunks()
        flat = bands.flatten().to_numpy(zero_copy_only=False).reshape(len(chosen), self.banding.bands)
        columns = [rows[chosen], *(np.ascontiguousarray(column) for column in flat.T)]
        self.keys.write_table(pa.Table.from_arrays(columns, schema=keys_schema(self.banding)))
        self.first.write_table(pa.table({"row": rows[chosen]}))
        blank = bytes(self.banding.hashes)
        for sketch in table["sketch"]:
            self.sketches.write(sketch.as_py() or blank)

    def close(self, work: Path) -> Signed | None:
        """Return the documents ready to be compared, or None where nothing was signed."""
        if self.banding is None:
            return None
        self.keys.close()
        self.first.close()
        self.sketches.close()
        sizes = np.concatenate(self.sizes) if self.sizes else np.zeros(0, np.int64)
        sketches = SketchFile(work / "sketches.bin", self.banding.hashes)
        return Signed(
            self.files, work / "keys.parquet", work / "first.parquet", sketches, self.banding, sizes
        )


def _name_copies(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Give each exact copy its reason and the source of the first; return which rows (N,) are the first of their text.

    A text without the right to be used is no first: a copy that bears that right must not go for its sake.
    """
    names, sources = (table[name].to_pylist() for name in ("doc_id", "source"))
    reasons, details = (table[name].to_pylist() for name in ("reason", "detail"))
    first: dict[str, str] = {}
    originals = np.zeros(len(table), np.bool_)
    for place, (name, reason) in enumerate(zip(names, reasons, strict=True)):
        if reason in SILENT:
            continue
        if name not in first:
            first[name], originals[place] = sources[place], True
        elif not reason:
            reasons[place], details[place] = "exact_duplicate", first[name]
    for name, values in (("reason", reasons), ("detail", details)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, pa.large_string()))
    return table, originals
