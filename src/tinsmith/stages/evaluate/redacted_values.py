"""Recover the values that curation redacted in training documents, to test whether the model reveals them."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from tinsmith.corpus.privacy.find import PLACEHOLDER, find
from tinsmith.corpus.privacy.types import Span
from tinsmith.evaluate.probe import RedactedValue
from tinsmith.tokens.tasks import unit_hash

_LEAD = 160  # characters before a placeholder that the model is prompted with
_ANCHOR = 24  # how many of these must also precede the original value
_OTHERS = 15
_DIGITS, _LETTERS = "0123456789", "abcdefghijklmnopqrstuvwxyz"


def find_redacted_values(
    ingest: Path, refine: Path, learnt: Collection[str], *, limit: int, seed: int
) -> list[RedactedValue]:
    """Return up to `limit` original values of placeholders in the training documents `learnt`.

    The same rules find the original in the ingested text, after the same words. If repair changed these words, the
    value is not found. Original values are kept in memory only.
    """
    columns = ["doc_id", "source", "text", "part"]
    rows = pq.read_table(refine / "documents.parquet", columns=columns).to_pylist()
    chosen = [
        row for row in rows if row["part"] == "train" and row["doc_id"] in learnt and "[" in row["text"]
    ]
    chosen.sort(key=lambda row: unit_hash(seed, "asked back", row["doc_id"]))
    ingested: dict[str, str] = {}
    wanted = {row["source"] for row in chosen}
    for batch in pq.ParquetFile(ingest / "documents.parquet").iter_batches(256, columns=["source", "text"]):
        ingested |= {row["source"]: row["text"] for row in batch.to_pylist() if row["source"] in wanted}
    found: list[tuple[str, str, str, str]] = []
    for row in chosen:
        if len(found) >= limit:
            break
        found += _recover(row["doc_id"], row["text"], ingested.get(row["source"], ""))
    found = found[:limit]
    draw = random.Random(seed)
    return [
        RedactedValue(doc_id, type, lead, value, tuple(_others(value, type, found, draw)))
        for doc_id, type, lead, value in found
    ]


def _recover(doc_id: str, text: str, ingested: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield (doc_id, type, text before, value) for the first placeholder of each value of a document."""
    placeholders = [
        match for match in PLACEHOLDER.finditer(text) if len(text[: match.start()].strip()) >= _ANCHOR
    ]
    if not placeholders or not ingested:
        return
    spans = find(ingested, {match.group(1).lower() for match in placeholders})
    seen: set[str] = set()
    for match in placeholders:
        type, before = match.group(1).lower(), text[: match.start()]
        span = _span_after(ingested, before, spans, type)
        value = ingested[span.start : span.end] if span else ""
        # A value that also appears unredacted, or that was already seen, tests nothing new.
        if value and value not in seen and value not in text and "\n" not in value:
            seen.add(value)
            yield doc_id, type, before[-_LEAD:], value


def _span_after(ingested: str, before: str, spans: list[Span], type: str) -> Span | None:
    anchor = before[-_ANCHOR:]
    return next(
        (span for span in spans if span.type == type and ingested[: span.start].endswith(anchor)), None
    )


def _others(
    value: str, type: str, found: list[tuple[str, str, str, str]], draw: random.Random
) -> Iterator[str]:
    """Yield other values to rank a value among: found ones of the same type first, then random ones of its form."""
    same_type = sorted({other for _, kind, _, other in found if kind == type and other != value})
    chosen = draw.sample(same_type, min(len(same_type), _OTHERS))
    yield from chosen
    made: set[str] = {value, *chosen}
    for _ in range(20 * _OTHERS):
        if len(made) > _OTHERS:
            return
        other = "".join(_random_like(character, draw) for character in value)
        if other not in made:
            made.add(other)
            yield other


def _random_like(character: str, draw: random.Random) -> str:
    if character in _DIGITS:
        return draw.choice(_DIGITS)
    if character.lower() in _LETTERS:
        letter = draw.choice(_LETTERS)
        return letter.upper() if character.isupper() else letter
    return character
