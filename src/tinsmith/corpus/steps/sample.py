"""Choose training documents by a hash of seed and doc_id, so that a sample does not depend on their order."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tinsmith.corpus.engine import DataFrame, col

_AT_ONCE = 64  # documents whose text is in memory


class SampleDocument(NamedTuple):
    """A document of a sample."""

    doc_id: str
    text: str


def order_key(seed: int, doc_id: str) -> str:
    """Return the key that sorts documents in the seeded order."""
    return hashlib.sha256(f"{seed}:{doc_id}".encode()).hexdigest()


def fold_of(doc_id: str, folds: int) -> int:
    """Return the fold of a document in cross-validation."""
    return int(order_key(0, doc_id)[:8], 16) % folds


def choose(documents: DataFrame, count: int, seed: int) -> list[str]:
    """Return the first `count` doc_ids in the seeded order."""
    ids = (
        doc_id
        for batch in documents.select("doc_id").to_arrow_iter()
        for doc_id in batch["doc_id"].to_pylist()
    )
    return heapq.nsmallest(count, ids, key=lambda doc_id: (order_key(seed, doc_id), doc_id))


def read_texts(documents: DataFrame, doc_ids: Sequence[str]) -> Iterator[SampleDocument]:
    """Yield the documents with these doc_ids in their order; memory holds a few texts at a time."""
    for start in range(0, len(doc_ids), _AT_ONCE):
        part = list(doc_ids[start : start + _AT_ONCE])
        found = documents.where(col("doc_id").is_in(part)).select("doc_id", "text").to_pydict()
        texts = dict(zip(found["doc_id"], found["text"], strict=True))
        yield from (SampleDocument(doc_id, texts[doc_id] or "") for doc_id in part if doc_id in texts)
