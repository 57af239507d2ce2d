"""Sort documents by doc_id, mark exact copies, and write what the search for near-duplicates reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tinsmith.corpus.dedup.proposals import SketchFile, keys_schema
from tinsmith.corpus.dedup.search import Signed
from tinsmith.corpus.dedup.signatures import Banding
from tinsmith.corpus.document_filter import TEXTLESS
from tinsmith.corpus.partitions import partition_file

_FIRST = pa.schema([("row", pa.int64())])


class ExactDedup:
    """Number documents in order of doc_id and source, file after file, and mark exact copies.

    Equal texts have the same doc_id, so they are adjacent in one file; all but the first are copies. With a banding,
    the signatures of the documents are written apart.
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
        """Sort a file of filtered documents, mark the copies, and write it to `self.files`."""
        table = pq.read_table(path).sort_by([("doc_id", "ascending"), ("source", "ascending")])
        table = table.combine_chunks()
        rows = np.arange(self.rows, self.rows + len(table))
        table, originals = _mark_copies(table)
        if self.banding is not None:
            self._write_signatures(table, rows, originals)
        table = table.drop_columns(["bands", "sketch"]).append_column("row", pa.array(rows))
        target = partition_file(self.folder, len(self.files))
        pq.write_table(table, target, compression="zstd", compression_level=1)
        self.files.append(target)
        self.sizes.append(table["bytes"].to_numpy())
        self.rows += len(table)

    def _write_signatures(self, table: pa.Table, rows: np.ndarray, originals: np.ndarray) -> None:
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
        """Return the input of the search for near-duplicates, or None without a banding."""
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


def _mark_copies(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Give each exact copy its reason and the source of the first; return which rows (N,) are first of their text.

    A rejected document without text is never the first: a copy that may be used must not be dropped for it.
    """
    names, sources = (table[name].to_pylist() for name in ("doc_id", "source"))
    reasons, details = (table[name].to_pylist() for name in ("reason", "detail"))
    first: dict[str, str] = {}
    originals = np.zeros(len(table), np.bool_)
    for row, (name, reason) in enumerate(zip(names, reasons, strict=True)):
        if reason in TEXTLESS:
            continue
        if name not in first:
            first[name], originals[row] = sources[row], True
        elif not reason:
            reasons[row], details[row] = "exact_duplicate", first[name]
    for name, values in (("reason", reasons), ("detail", details)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pa.array(values, pa.large_string()))
    return table, originals
