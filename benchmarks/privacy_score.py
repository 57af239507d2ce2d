"""Spans found against spans that are true: overlap within ten core types, by sentence."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# The core types, by the words of the sentences' authors, of Tinsmith and of Presidio. Places are one type, since
# Presidio knows one only. Organisations, dates, titles, ages and nationalities are left out on all sides.
TRUE = {
    "PERSON": "person", "STREET_ADDRESS": "place", "GPE": "place", "ZIP_CODE": "place", "PHONE_NUMBER": "phone",
    "EMAIL_ADDRESS": "email", "CREDIT_CARD": "payment_card", "IBAN_CODE": "iban", "US_SSN": "us_ssn",
    "IP_ADDRESS": "ip_address", "DOMAIN_NAME": "url", "US_DRIVER_LICENSE": "driver_licence",
}  # fmt: skip
OURS = {
    "person": "person", "address": "place", "location": "place",
    **{name: name for name in ("phone", "email", "payment_card", "iban", "us_ssn", "ip_address", "url")},
    "driver_licence": "driver_licence",
}  # fmt: skip
PRESIDIO = {
    "PERSON": "person", "LOCATION": "place", "PHONE_NUMBER": "phone", "EMAIL_ADDRESS": "email",
    "CREDIT_CARD": "payment_card", "IBAN_CODE": "iban", "US_SSN": "us_ssn", "IP_ADDRESS": "ip_address", "URL": "url",
    "US_DRIVER_LICENSE": "driver_licence",
}  # fmt: skip
CORE = tuple(dict.fromkeys(TRUE.values()))
STRUCTURED = tuple(name for name in CORE if name not in ("person", "place"))
_RESAMPLES = 1000

Marks = list[tuple[int, int, str]]  # start, end, core type


class Sentence(NamedTuple):
    """A text, its true spans, and whether rules may have been made by looking at it."""

    text: str
    truth: Marks
    development: bool


def sentences(path: Path) -> list[Sentence]:
    """Read the sentences; a template's sentences lie on one side, by the hash of its number."""
    return [
        Sentence(
            row["full_text"],
            [
                (span["start_position"], span["end_position"], TRUE[span["entity_type"]])
                for span in row["spans"]
                if span["entity_type"] in TRUE
            ],
            int(hashlib.sha256(str(row["template_id"]).encode()).hexdigest(), 16) % 2 == 0,
        )
        for row in json.loads(path.read_text())
    ]


def marks(spans: Iterable[tuple[int, int, str]], names: dict[str, str]) -> Marks:
    """Return the spans of core types, named as such."""
    return [(start, end, names[kind]) for start, end, kind in spans if kind in names]


Counts = dict[str, list[int]]  # core type -> true, found, said, right


def count(truth: Marks, said: Marks) -> Counts:
    """Count one sentence: a true span is found, and a said one right, if one of the same type overlaps it."""
    counts: Counts = {}
    for start, end, kind in truth:
        row = counts.setdefault(kind, [0, 0, 0, 0])
        row[0] += 1
        row[1] += any(s < end and start < e and k == kind for s, e, k in said)
    for start, end, kind in said:
        row = counts.setdefault(kind, [0, 0, 0, 0])
        row[2] += 1
        row[3] += any(s < end and start < e and k == kind for s, e, k in truth)
    return counts


def total(parts: Iterable[Counts], kinds: Sequence[str] = CORE) -> list[int]:
    """Add up the counts of some types."""
    sums = [0, 0, 0, 0]
    for part in parts:
        for kind, row in part.items():
            if kind in kinds:
                sums = [a + b for a, b in zip(sums, row, strict=True)]
    return sums


def recall(sums: Sequence[int]) -> float:
    """Return the share of true spans that are found."""
    return sums[1] / sums[0] if sums[0] else 0.0


def precision(sums: Sequence[int]) -> float:
    """Return the share of said spans that are right."""
    return sums[3] / sums[2] if sums[2] else 0.0


def f1(sums: Sequence[int]) -> float:
    """Return the harmonic mean of both."""
    p, r = precision(sums), recall(sums)
    return 2 * p * r / (p + r) if p + r else 0.0


def interval(
    parts: Sequence[Counts], value: Callable[[Sequence[int]], float], kinds: Sequence[str] = CORE
) -> tuple[float, float]:
    """Return the 95% interval of a figure over resampled sentences."""
    rows = [total([part], kinds) for part in parts]
    draw = random.Random(7)
    values = []
    for _ in range(_RESAMPLES):
        chosen = draw.choices(rows, k=len(rows))
        values.append(value([sum(column) for column in zip(*chosen, strict=True)]))
    values.sort()
    return values[int(0.025 * _RESAMPLES)], values[int(0.975 * _RESAMPLES) - 1]


def by_type(parts: Sequence[Counts]) -> dict[str, dict[str, Any]]:
    """Return recall and precision of each type, with counts and the interval of the recall."""
    result = {}
    for kind in CORE:
        sums = total(parts, [kind])
        low, high = interval(parts, recall, [kind])
        result[kind] = {
            "true": sums[0], "recall": recall(sums), "low": low, "high": high,
            "said": sums[2], "precision": precision(sums),
        }  # fmt: skip
    return result
