"""Score a text without learning: by how far its measures lie outside the ranges of good prose.

Each measure has a range that holds nine tenths of good prose; a value outside has a cost, and the score is a logistic
function of the costs. Their weights were fitted once (`python -m benchmarks.ready_weights`) on prose of several
fields against damaged and empty text.
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
MAX_DISTANCE = 4.0  # of one measure, so that none decides alone


class Range(NamedTuple):
    """The range of a measure in good prose, the unit of distances outside it, and the cost of a unit."""

    low: float
    high: float
    scale: float
    weight: float  # of English text
    weight_other: float  # of other languages, which leave out the measures of English words


@cache
def ranges() -> tuple[dict[str, Range], float, float]:
    """Return the ranges by measure, and the logit of a faultless text: English, other."""
    lines = files("tinsmith.corpus.steps.score").joinpath(_TABLE).read_text("utf-8").splitlines()
    rows = {
        row.pop("measure"): row for row in csv.DictReader(line for line in lines if not line.startswith("#"))
    }
    best = rows.pop("(none)")
    found = {name: Range(*(float(row[field]) for field in Range._fields)) for name, row in rows.items()}
    return found, float(best["weight"]), float(best["weight_other"])


def distance(name: str, value: float, table: Mapping[str, Range]) -> float:
    """Return the distance of a value from its range in units, at most MAX_DISTANCE."""
    where = table[name]
    return min(MAX_DISTANCE, max(where.low - value, value - where.high, 0.0) / where.scale)


def costs(text: str, language: str) -> dict[str, float]:
    """Return the cost of each measure in logits. Languages other than en and und leave out English words."""
    table, _, _ = ranges()
    other = language not in ("en", "und", "")
    values = measure(text)
    return {
        name: (where.weight_other if other else where.weight) * distance(name, values[name], table)
        for name, where in table.items()
        if not (other and name in ENGLISH)
    }


def score(text: str, language: str) -> float:
    """Return the score of a text, 0 to 1."""
    _, best, best_other = ranges()
    return sigmoid(
        (best if language in ("en", "und", "") else best_other) - sum(costs(text, language).values())
    )


def reasons(text: str, language: str, most: int = 6) -> list[tuple[str, float]]:
    """Return the measures with the highest costs, as negative amounts, highest first."""
    ranked = sorted(costs(text, language).items(), key=lambda pair: (-pair[1], pair[0]))
    return [(name, -cost) for name, cost in ranked[:most] if cost]
