"""A score that needs nothing: how far a text's measures lie outside what good prose has.

Each measure has a range in which nine tenths of good prose lie; what lies outside costs, in a logistic sum whose
weights, all of them costs, were fitted once (`python -m benchmarks.ready_weights`) on prose of several fields against
damaged and empty text. What each measure cost a document can be read off.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from tinsmith.corpus.steps.score.exemplars import sigmoid
from tinsmith.corpus.steps.score.features import ENGLISH, measure

_TABLE = "ready.csv"
MOST = 4.0  # of one measure's distance: no single measure decides alone


class Range(NamedTuple):
    """What a measure is in good prose, the length by which distances count, and what a length costs."""

    low: float
    high: float
    scale: float
    weight: float  # where the text is English
    weight_other: float  # in any other language, without the measures of English words


@cache
def ranges() -> tuple[dict[str, Range], float, float]:
    """Return the ranges by measure, and the value of a text without fault: English, other."""
    lines = files("tinsmith.corpus.steps.score").joinpath(_TABLE).read_text("utf-8").splitlines()
    rows = {
        row.pop("measure"): row for row in csv.DictReader(line for line in lines if not line.startswith("#"))
    }
    best = rows.pop("(none)")
    found = {name: Range(*(float(row[field]) for field in Range._fields)) for name, row in rows.items()}
    return found, float(best["weight"]), float(best["weight_other"])


def distance(name: str, value: float, table: Mapping[str, Range]) -> float:
    """Return how many lengths a value lies outside its range, at most MOST."""
    where = table[name]
    return min(MOST, max(where.low - value, value - where.high, 0.0) / where.scale)


def costs(text: str, language: str) -> dict[str, float]:
    """Return what each measure costs a text, in logits. Languages other than en and und leave English words out."""
    table, _, _ = ranges()
    other = language not in ("en", "und", "")
    values = measure(text)
    return {
        name: (where.weight_other if other else where.weight) * distance(name, values[name], table)
        for name, where in table.items()
        if not (other and name in ENGLISH)
    }


def judge(text: str, language: str) -> float:
    """Return the score of a text, 0 to 1."""
    _, best, best_other = ranges()
    return sigmoid(
        (best if language in ("en", "und", "") else best_other) - sum(costs(text, language).values())
    )


def reasons(text: str, language: str, most: int = 6) -> list[tuple[str, float]]:
    """Return the measures that cost a text most, as negative amounts, the strongest first."""
    ranked = sorted(costs(text, language).items(), key=lambda pair: (-pair[1], pair[0]))
    return [(name, -cost) for name, cost in ranked[:most] if cost]
