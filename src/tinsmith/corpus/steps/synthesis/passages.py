"""Passages of training documents that items rest on, chosen by seed and doc_id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tinsmith.corpus.engine import DataFrame, col
from tinsmith.corpus.steps.score.sample import choose

_WORD = re.compile(r"\S+")
_AT_ONCE = 64  # documents whose text is in memory
FIELDS = ("doc_id", "text", "source", "sha256", "licence", "access", "language", "cluster")


class Passage(NamedTuple):
    """A stretch of a training document, in whole words, and the document's labels."""

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
) -> Iterator[Passage]:
    """Yield a passage for each item; documents in a seeded order, again from the first where they do not suffice."""
    ids = choose(documents, items, seed)
    for start in range(0, items if ids else 0, _AT_ONCE):
        numbers = range(start, min(items, start + _AT_ONCE))
        part = [ids[number % len(ids)] for number in numbers]
        found = documents.where(col("doc_id").is_in(sorted(set(part)))).select(*FIELDS).to_pylist()
        rows = {row["doc_id"]: row for row in found}
        for number, doc_id in zip(numbers, part, strict=True):
            row = rows[doc_id]
            place, text = _cut(row["text"], words, f"{seed}:{number}:{doc_id}")
            labels = {name: row[name] or "" for name in FIELDS if name != "text"}
            yield Passage(number, kinds[number % len(kinds)], text, place, **labels)


def _cut(text: str, words: int, key: str) -> tuple[int, str]:
    """Return where a seeded stretch of so many words begins, and the stretch; paragraphs begin it where they can."""
    places = [(found.start(), found.end()) for found in _WORD.finditer(text)]
    if len(places) <= words:
        return 0, text.strip()
    opens = [
        n for n, (start, _) in enumerate(places[: len(places) - words]) if text[max(0, start - 1)] == "\n"
    ]
    choices = opens or list(range(len(places) - words))
    first = choices[int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) % len(choices)]
    return places[first][0], text[places[first][0] : places[first + words - 1][1]]
