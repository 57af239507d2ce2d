"""Which training documents a judge learns from: by a hash of their id, whatever their order."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tinsmith.corpus.engine import DataFrame, col

_AT_ONCE = 64  # documents whose text is in memory


class Document(NamedTuple):
    """A document that is looked at."""

    doc_id: str
    text: str


def place(seed: int, doc_id: str) -> str:
    """Return where a document stands in the seeded order."""
    return hashlib.sha256(f"{seed}:{doc_id}".encode()).hexdigest()


def fold_of(doc_id: str, folds: int) -> int:
    """Return which part of a cross-validation a document belongs to."""
    return int(place(0, doc_id)[:8], 16) % folds


def choose(documents: DataFrame, count: int, seed: int) -> list[str]:
    """Return the doc_ids of a seeded sample, in its order."""
    ids = (
        name for batch in documents.select("doc_id").to_arrow_iter() for name in batch["doc_id"].to_pylist()
    )
    return [name for _, name in heapq.nsmallest(count, ((place(seed, name), name) for name in ids))]


def texts_of(documents: DataFrame, doc_ids: Sequence[str]) -> Iterator[Document]:
    """Yield the chosen documents in the order of `doc_ids`, some texts at a time."""
    for start in range(0, len(doc_ids), _AT_ONCE):
        part = list(doc_ids[start : start + _AT_ONCE])
        found = documents.where(col("doc_id").is_in(part)).select("doc_id", "text").to_pydict()
        texts = dict(zip(found["doc_id"], found["text"], strict=True))
        yield from (Document(name, texts[name] or "") for name in part if name in texts)
