"""Propose pairs of similar texts: they share a band, found on the engine, and pass the sketches' estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tinsmith.corpus.dedup.signatures import Banding, Sketches, estimate, least_estimate
from tinsmith.corpus.engine import DataFrame, DataType, Series, batch_function, col, list_agg, read_parquet

ALL_PAIRS = 16  # largest bucket of which every pair is compared
NEIGHBOURS = 8  # in a larger bucket each member is compared with the first and this many that follow it
_INCIDENCES = 2_000_000  # rows times bands grouped at one time
_ESTIMATED = 16_384  # pairs of sketches compared at one time
Rows = NDArray[np.int64]
_PAIR = DataType.struct({"a": DataType.int64(), "b": DataType.int64()})
PAIRS = pa.schema([("a", pa.int64()), ("b", pa.int64())])


def keys_schema(banding: Banding) -> pa.Schema:
    """Return the schema of band keys: `row`, and a column per band, so that bands can be read one by one."""
    return pa.schema([("row", pa.int64()), *((f"band_{n}", pa.uint64()) for n in range(banding.bands))])


class SketchFile:
    """The sketches of all texts in one file, by row."""

    def __init__(self, path: Path, hashes: int) -> None:
        self.path, self.hashes = path, hashes

    def read(self, rows: Rows) -> Sketches:
        """Return the sketches of some rows (N, H); the file is mapped only during the call."""
        table = np.memmap(self.path, np.uint8, "r").reshape(-1, self.hashes)
        return np.asarray(table[rows])


def propose(
    keys: Path,
    first: Path,
    sketches: SketchFile,
    banding: Banding,
    threshold: float,
    out: Path,
    advance: Callable[[float], None],
) -> list[Path]:
    """Write the pairs (`a` < `b`) that share a band and whose estimate may reach the threshold; return the files.

    `keys` is a table by `keys_schema`; `first` lists the rows to compare (`row`). Bands are processed in groups, so
    that memory holds about two million keys at a time.
    """
    out.mkdir()
    rows = read_parquet(str(first)).select("row")
    near = _filter(sketches, least_estimate(threshold, banding.hashes))
    written = []
    for bands in _band_groups(banding, pq.read_metadata(keys).num_rows):
        pairs = _shared(read_parquet(str(keys)), rows, bands)
        pairs = pairs.where(near(col("a"), col("b")))
        with pq.ParquetWriter(out / f"{bands[0]}.parquet", PAIRS) as writer:
            for batch in pairs.to_arrow_iter():
                writer.write_batch(batch)
        written.append(out / f"{bands[0]}.parquet")
        advance(len(bands))
    return written


def _band_groups(banding: Banding, rows: int) -> Iterator[list[str]]:
    width = max(1, min(banding.bands, _INCIDENCES // max(1, rows)))
    for start in range(0, banding.bands, width):
        yield [f"band_{n}" for n in range(start, min(banding.bands, start + width))]


def _shared(keys: DataFrame, rows: DataFrame, bands: list[str]) -> DataFrame:
    """Return the pairs of rows that share a key, each once."""
    frames = [keys.select("row", col(band).alias("key")) for band in bands]
    long = frames[0]
    for frame in frames[1:]:
        long = long.concat(frame)
    long = long.where(col("key").not_null()).join(rows, on="row", how="semi")
    # Most keys belong to one text: drop them before making lists.
    common = long.groupby("key").agg(col("row").count().alias("members"))
    common = common.where(col("members") > 1).select("key")
    buckets = long.join(common, on="key", how="semi").groupby("key").agg(list_agg(col("row")).alias("rows"))
    pairs = buckets.select(_pairs(col("rows")).alias("pair")).explode("pair")
    return pairs.select(col("pair")["a"].alias("a"), col("pair")["b"].alias("b")).distinct()


@batch_function(return_dtype=DataType.list(_PAIR))
def _pairs(buckets: Series) -> pa.Array:
    lists = buckets.to_arrow()
    found = [bucket_pairs(np.sort(np.asarray(rows, dtype=np.int64))) for rows in lists.to_pylist()]
    offsets = np.concatenate([[0], np.cumsum([len(first) for first, _ in found])])
    firsts = np.concatenate([np.empty(0, np.int64), *(first for first, _ in found)])
    seconds = np.concatenate([np.empty(0, np.int64), *(second for _, second in found)])
    pairs = pa.StructArray.from_arrays([pa.array(firsts), pa.array(seconds)], ["a", "b"])
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pairs)


def bucket_pairs(rows: Rows) -> tuple[Rows, Rows]:
    """Return the pairs (P,) and (P,) to compare among the sorted members of a bucket.

    Those are all pairs of a small bucket. In a larger one each member is compared with the first and its next
    neighbours, so that the work is linear in the members.
    """
    count = len(rows)
    if count <= ALL_PAIRS:
        a, b = np.triu_indices(count, 1)
        return rows[a], rows[b]
    starts = np.arange(count)
    pairs = [(np.zeros(count - 1, np.int64), starts[1:])]
    pairs += [(starts[1:-step], starts[1 + step :]) for step in range(1, NEIGHBOURS + 1)]
    return rows[np.concatenate([a for a, _ in pairs])], rows[np.concatenate([b for _, b in pairs])]


def _filter(sketches: SketchFile, least: float) -> Callable[..., object]:
    @batch_function(return_dtype=DataType.bool(), batch_size=_ESTIMATED)
    def near(a: Series, b: Series) -> pa.Array:
        first, second = (rows.to_arrow().to_numpy(zero_copy_only=False) for rows in (a, b))
        return pa.array(estimate(sketches.read(first), sketches.read(second)) >= least)

    return near
