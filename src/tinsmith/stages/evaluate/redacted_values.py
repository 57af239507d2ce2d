"""Find again what curation replaced in training documents, for the one question whether the model can say it."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from tinsmith.corpus.privacy.find import PLACEHOLDER, find
from tinsmith.corpus.privacy.types import Span
from tinsmith.evaluate.families.pii_extraction import Original
from tinsmith.tokens.tasks import unit_hash

_LEAD = 160  # characters before a placeholder that the model is given
_ANCHOR = 24  # of them, so many must stand before the original too
_OTHERS = 15
_DIGITS, _LETTERS = "0123456789", "abcdefghijklmnopqrstuvwxyz"


def find_originals(
    ingest: Path, refine: Path, learnt: Collection[str], *, limit: int, seed: int
) -> list[Original]:
    """Return up to `limit` originals of placeholders in training documents that were learnt from.

    A placeholder's original is what the same rules find in the text as it came, behind the same words; where repair
    changed those words it is not found again. Originals live in memory alone.
    """
    columns = ["doc_id", "source", "text", "part"]
    rows = pq.read_table(refine / "documents.parquet", columns=columns).to_pylist()
    chosen = [
        row for row in rows if row["part"] == "train" and row["doc_id"] in learnt and "[" in row["text"]
    ]
    chosen.sort(key=lambda row: unit_hash(seed, "asked back", row["doc_id"]))
    came: dict[str, str] = {}
    wanted = {row["source"] for row in chosen}
    for batch in pq.ParquetFile(ingest / "documents.parquet").iter_batches(256, columns=["source", "text"]):
        came |= {row["source"]: row["text"] for row in batch.to_pylist() if row["source"] in wanted}
    found: list[tuple[str, str, str, str]] = []
    for row in chosen:
        if len(found) >= limit:
            break
        found += _pairs(row["doc_id"], row["text"], came.get(row["source"], ""))
    found = found[:limit]
    draw = random.Random(seed)
    return [
        Original(doc_id, type, lead, value, tuple(_others(value, type, found, draw)))
        for doc_id, type, lead, value in found
    ]


def _pairs(doc_id: str, text: str, came: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield (doc_id, type, words before, original) of the first placeholder of each value of a document."""
    places = [place for place in PLACEHOLDER.finditer(text) if len(text[: place.start()].strip()) >= _ANCHOR]
    if not places or not came:
        return
    spans = find(came, {place.group(1).lower() for place in places})
    seen: set[str] = set()
    for place in places:
        span = _behind(came, text[: place.start()], spans, place.group(1).lower())
        value = came[span.start : span.end] if span else ""
        # What the document holds elsewhere in the open, or names twice, is no secret of this place.
        if value and value not in seen and value not in text and "\n" not in value:
            seen.add(value)
            yield doc_id, place.group(1).lower(), text[: place.start()][-_LEAD:], value


def _behind(came: str, before: str, spans: list[Span], type: str) -> Span | None:
    anchor = before[-_ANCHOR:]
    return next((span for span in spans if span.type == type and came[: span.start].endswith(anchor)), None)


def _others(
    value: str, type: str, found: list[tuple[str, str, str, str]], draw: random.Random
) -> Iterator[str]:
    """Yield other values to rank an original among: of the same type first, then of its form with other characters."""
    own = sorted({other for _, kind, _, other in found if kind == type and other != value})
    chosen = draw.sample(own, min(len(own), _OTHERS))
    yield from chosen
    made: set[str] = {value, *chosen}
    for _ in range(20 * _OTHERS):
        if len(made) > _OTHERS:
            return
        other = "".join(_another(sign, draw) for sign in value)
        if other not in made:
            made.add(other)
            yield other


def _another(sign: str, draw: random.Random) -> str:
    if sign in _DIGITS:
        return draw.choice(_DIGITS)
    if sign.lower() in _LETTERS:
        drawn = draw.choice(_LETTERS)
        return drawn.upper() if sign.isupper() else drawn
    return sign
