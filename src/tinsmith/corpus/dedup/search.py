"""Find families of near-duplicates among sorted files of documents, and decide which members are kept.

All but a few numbers per document stays on disk: band keys and pairs in tables, sketches in a mapped file. The texts
of families are regrouped into parts that fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tinsmith.base.progress import Progress
from tinsmith.corpus.dedup.components import find_roots
from tinsmith.corpus.dedup.families import (
    Decision,
    EstimatedSimilarities,
    Member,
    Similarities,
    TrueSimilarities,
    decide,
)
from tinsmith.corpus.dedup.proposals import PAIRS, SketchFile, propose
from tinsmith.corpus.dedup.signatures import Banding, shingle_set
from tinsmith.corpus.engine import read_parquet
from tinsmith.corpus.partitions import PartitionWriter, partition_file

_PART_BYTES = 64_000_000  # text compared at one time
_LARGEST_FAMILY = 256_000_000  # bytes of text; a larger family is compared by its sketches
_MEMBERS = pa.schema(
    [
        ("row", pa.int64()),
        ("doc_id", pa.string()),
        ("text", pa.large_string()),
        ("characters", pa.int64()),
        ("reason", pa.string()),
        ("version", pa.string()),
    ]
)
Rows = NDArray[np.int64]


class Signed(NamedTuple):
    """Documents with signatures: their sorted files, band keys and sketches.

    `first` is a table of the rows to compare, one per distinct text. `sizes` (N,) are bytes of text by row.
    """

    files: Sequence[Path]
    keys: Path
    first: Path
    sketches: SketchFile
    banding: Banding
    sizes: Rows


def find_families(
    signed: Signed, thresholds: tuple[float, float], *, newest: bool, work: Path, progress: Progress
) -> list[Decision]:
    """Return a decision for each text that was proposed as similar to another.

    `thresholds` are the Jaccard indices of a cluster and of a near-duplicate; see `families.decide`.
    """
    with progress.task("compare", signed.banding.bands, "bands") as advance:
        files = propose(
            signed.keys, signed.first, signed.sketches, signed.banding, thresholds[0], work / "pairs", advance
        )
    if not sum(pq.read_metadata(file).num_rows for file in files):
        return []
    roots = find_roots(read_parquet([str(file) for file in files])).to_arrow()
    parts = _Parts.of(roots, signed.sizes)
    _regroup_members(signed.files, parts, work / "members")
    _regroup_pairs(files, parts, work / "families")
    decisions: list[Decision] = []
    with progress.task("decide", parts.total, "parts") as advance:
        for number in range(parts.total):
            members = pq.read_table(partition_file(work / "members", number))
            pairs = pq.read_table(partition_file(work / "families", number))
            decisions += _decide_part(members, pairs, parts, signed.sketches, thresholds, newest)
            advance(1)
    return decisions


class _Parts(NamedTuple):
    """The family and the part of the work of each row (N,); -1 if it is in no family."""

    family: Rows
    part: Rows
    large: frozenset[int]
    total: int

    @classmethod
    def of(cls, roots: pa.Table, sizes: Rows) -> _Parts:
        rows, root = (roots[name].to_numpy().astype(np.int64) for name in ("row", "root"))
        family = np.full(len(sizes), -1, np.int64)
        family[rows] = root
        weight = np.zeros(len(sizes), np.int64)
        np.add.at(weight, root, sizes[rows])
        families = np.unique(root)
        number_of = np.full(len(sizes), -1, np.int64)
        # Consecutive families form parts of about 64 MB.
        number_of[families] = np.cumsum(weight[families]) // _PART_BYTES
        _, number_of[families] = np.unique(number_of[families], return_inverse=True)
        part = np.where(family >= 0, number_of[family], -1)
        large = frozenset(families[weight[families] > _LARGEST_FAMILY].tolist())
        return cls(family, part, large, int(number_of.max()) + 1)


def _regroup_members(files: Sequence[Path], parts: _Parts, folder: Path) -> None:
    with PartitionWriter(folder, _MEMBERS) as writer:
        for file in files:
            table = pq.read_table(file, columns=_MEMBERS.names)
            numbers = parts.part[table["row"].to_numpy()]
            chosen = np.flatnonzero(numbers >= 0)
            if len(chosen):
                writer.add(table.take(pa.array(chosen)), numbers[chosen])


def _regroup_pairs(files: Sequence[Path], parts: _Parts, folder: Path) -> None:
    with PartitionWriter(folder, PAIRS) as writer:
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(1_000_000):
                if batch.num_rows:
                    table = pa.Table.from_batches([batch])
                    writer.add(table, parts.part[table["a"].to_numpy()])


def _decide_part(
    members: pa.Table,
    pairs: pa.Table,
    parts: _Parts,
    sketches: SketchFile,
    thresholds: tuple[float, float],
    newest: bool,
) -> list[Decision]:
    members = members.sort_by("row")
    rows = members["row"].to_numpy()
    ends = np.stack([pairs["a"].to_numpy(), pairs["b"].to_numpy()], axis=1)
    ends = np.unique(ends, axis=0)
    decisions: list[Decision] = []
    for root, inside in _groups(parts.family[rows]):
        family = members.take(pa.array(inside))
        indices = {int(row): index for index, row in enumerate(family["row"].to_pylist())}
        linked = ends[parts.family[ends[:, 0]] == root]
        proposed = [(indices[int(a)], indices[int(b)]) for a, b in linked]
        similarities: Similarities = (
            EstimatedSimilarities(sketches.read(family["row"].to_numpy()))
            if root in parts.large
            else TrueSimilarities({n: shingle_set(text) for n, text in enumerate(_texts(family))})
        )
        decisions += decide(_members(family), proposed, similarities, thresholds, newest=newest)
    return decisions


def _groups(families: Rows) -> Iterator[tuple[int, Rows]]:
    order = np.argsort(families, kind="stable")
    edges = np.flatnonzero(np.diff(families[order])) + 1
    for inside in np.split(order, edges):
        yield int(families[inside[0]]), inside


def _texts(members: pa.Table) -> Iterable[str]:
    return (text.as_py() for text in members["text"])


def _members(members: pa.Table) -> list[Member]:
    columns = [members[name].to_pylist() for name in ("row", "doc_id", "characters")]
    columns.append(pc.count_substring(members["text"], "\ufffd").to_pylist())
    columns.append(pc.equal(members["reason"], "").to_pylist())
    return [Member(*fields) for fields in zip(*columns, members["version"].to_pylist(), strict=True)]
