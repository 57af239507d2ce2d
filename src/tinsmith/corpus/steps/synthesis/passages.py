"""Choose passages of training documents by seed and doc_id; an item is written from each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tinsmith.corpus.engine import DataFrame, col
from tinsmith.corpus.steps.sample import choose
from tinsmith.corpus.steps.teachers import CHARACTERS_PER_WORD

_WORD = re.compile(r"\S+")
_AT_ONCE = 64  # documents whose text is in memory
FIELDS = ("doc_id", "text", "source", "sha256", "licence", "access", "language", "cluster")


class SourcePassage(NamedTuple):
    """A passage of a training document, in whole words, with the labels of the document."""

    number: int
    kind: str
    text: str
    start: int
    doc_id: str
    source: str
    sha256: str
    licence: str
    access: str
    language: str
    cluster: str


def choose_passages(
    documents: DataFrame, *, items: int, kinds: Sequence[str], words: int, seed: int
) -> Iterator[SourcePassage]:
    """Yield a passage per item, from documents in a seeded order, which starts again if there are too few."""
    ids = choose(documents, items, seed)
    for first in range(0, items if ids else 0, _AT_ONCE):
        numbers = range(first, min(items, first + _AT_ONCE))
        part = [ids[number % len(ids)] for number in numbers]
        found = documents.where(col("doc_id").is_in(sorted(set(part)))).select(*FIELDS).to_pylist()
        rows = {row["doc_id"]: row for row in found}
        for number, doc_id in zip(numbers, part, strict=True):
            row = rows[doc_id]
            start, text = _cut(row["text"], words, f"{seed}:{number}:{doc_id}")
            labels = {name: row[name] or "" for name in FIELDS if name != "text"}
            yield SourcePassage(number, kinds[number % len(kinds)], text, start, **labels)


def _cut(text: str, words: int, key: str) -> tuple[int, str]:
    """Return the offset and text of a seeded passage of `words` words, at the start of a paragraph if possible."""
    most = words * CHARACTERS_PER_WORD
    spans = [(found.start(), found.end()) for found in _WORD.finditer(text)]
    if len(spans) <= words:
        return 0, text.strip()[:most]
    opens = [n for n, (start, _) in enumerate(spans[: len(spans) - words]) if text[max(0, start - 1)] == "\n"]
    choices = opens or list(range(len(spans) - words))
    first = choices[int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) % len(choices)]
    return spans[first][0], text[spans[first][0] : spans[first + words - 1][1]][:most]
