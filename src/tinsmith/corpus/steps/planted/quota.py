"""Limit the share of one source: how much of each may stay, and which of its documents are dropped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from tinsmith.base.errors import CorpusError
from tinsmith.corpus.engine import DataFrame, col
from tinsmith.corpus.steps.sample import order_key
from tinsmith.recipe import PlantedConfig


class SizedDocument(NamedTuple):
    """A document with the source that its path names, and the bytes of its text."""

    doc_id: str
    source: str
    bytes: int


class Source(NamedTuple):
    """The documents and bytes of a source, before and after."""

    source: str
    documents: int
    bytes: int
    documents_kept: int
    bytes_kept: int


def find_excess(
    documents: DataFrame, config: PlantedConfig, seed: int
) -> tuple[dict[str, str], list[Source]]:
    """Return the documents to drop (doc_id to source) so that no source exceeds its share, and all sources.

    Which documents of a source stay depends only on seed and doc_id. Raises CorpusError if there are too few sources
    for the share.
    """
    rows = _read(documents, config.source_depth)
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.source] = sizes.get(row.source, 0) + row.bytes
    cap = _cap(sizes, config.max_source_share)
    left, kept = dict.fromkeys(sizes, cap), dict.fromkeys(sizes, (0, 0))
    dropped: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: order_key(seed, row.doc_id)):
        if row.bytes <= left[row.source]:
            left[row.source] -= row.bytes
            count, size = kept[row.source]
            kept[row.source] = count + 1, size + row.bytes
        else:
            dropped[row.doc_id] = row.source
    counts = {name: sum(row.source == name for row in rows) for name in sizes}
    sources = [Source(name, counts[name], size, *kept[name]) for name, size in sizes.items()]
    return dropped, sorted(sources, key=lambda each: (-each.bytes, each.source))


def _read(documents: DataFrame, depth: int) -> list[SizedDocument]:
    table = documents.select("doc_id", "source", col("text").length_bytes().alias("bytes")).to_arrow()
    # Folders that all documents share do not name a source.
    folders = [PurePosixPath(each.replace("\\", "/")).parts[:-1] for each in table["source"].to_pylist()]
    shared = 0
    while folders and all(len(each) > shared and each[shared] == folders[0][shared] for each in folders):
        shared += 1
    ids, sizes = table["doc_id"].to_pylist(), table["bytes"].to_pylist()
    names = ["/".join(folder[shared : shared + depth]) for folder in folders]
    return [SizedDocument(*row) for row in zip(ids, names, sizes, strict=True)]


def _cap(sizes: Mapping[str, int], share: float) -> int:
    """Return the most bytes that a source may keep so that none exceeds its share of what is left."""
    if len(sizes) * share < 1:
        raise CorpusError(
            f"{len(sizes)} sources cannot each stay below {share:.0%} of the text",
            where="refine.planted.max_source_share",
            next_step=f"raise it to {1 / max(1, len(sizes)):.2f} or more, or change source_depth",
        )
    ordered = sorted(sizes.values(), reverse=True)
    if ordered[0] <= share * sum(ordered):
        return ordered[0]
    cut, cap = 1, 0  # number of the largest sources that are cut to one size
    while cut * share < 1:
        cap = int(share * sum(ordered[cut:]) / (1 - cut * share))
        if cap >= (ordered[cut] if cut < len(ordered) else 0):
            break
        cut += 1
    return cap
