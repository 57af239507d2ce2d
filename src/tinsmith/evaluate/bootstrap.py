"""Intervals and paired differences by bootstrap over documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from tinsmith.base.errors import CorpusError

# A statistic maps how often each document was drawn (resamples, documents) to one value per resample.
Statistic = Callable[[np.ndarray], np.ndarray]
_POWER = 0.8


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `error` is its standard error over the resamples."""

    value: float
    low: float
    high: float
    error: float = 0.0

    def row(self) -> dict[str, float]:
        """Return the three numbers by name."""
        return {"value": self.value, "low": self.low, "high": self.high}


class Bootstrap:
    """Resamples of documents, drawn once: all statistics on them are paired.

    Percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
    """

    def __init__(self, documents: int, *, resamples: int, confidence: float, seed: int) -> None:
        if documents < 2:
            raise CorpusError(
                f"{documents} held-out document(s) can give no interval",
                where="evaluate",
                next_step="raise split.held_out, or add documents",
            )
        generator = np.random.default_rng(seed)
        self.documents, self.confidence, self.seed = documents, confidence, seed
        self.weights = generator.multinomial(
            documents, np.full(documents, 1 / documents), size=resamples
        ).astype(float)

    def estimate(self, statistic: Statistic) -> Estimate:
        """Return a statistic on all documents with its interval, from the resamples where it is defined."""
        drawn = statistic(self.weights)
        drawn = drawn[np.isfinite(drawn)]
        value = float(statistic(np.ones((1, self.documents)))[0])
        if not len(drawn) or not math.isfinite(value):
            raise CorpusError(
                "no document can be scored", where="evaluate", next_step="hold out more documents"
            )
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Estimate(value, float(low), float(high), float(drawn.std()))

    def difference(self, a: Statistic, b: Statistic) -> Estimate:
        """Return a minus b, both on the same resamples."""
        return self.estimate(lambda weights: a(weights) - b(weights))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Statistic:
    """Return the statistic sum / sum, for example bits / bytes, from one number each per document."""
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)

    def statistic(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ above) / (weights @ below)

    return statistic


def balanced(correct: Sequence[bool], answers: Sequence[str]) -> Statistic:
    """Return balanced accuracy: the mean over the drawn classes of the share answered rightly."""
    hits = np.asarray(correct, dtype=float)
    members = np.stack(
        [np.asarray([answer == label for answer in answers], dtype=float) for label in sorted(set(answers))]
    )

    def statistic(weights: np.ndarray) -> np.ndarray:
        drawn = weights @ members.T
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = np.where(drawn > 0, (weights @ (members * hits).T) / drawn, 0.0)
            return recall.sum(axis=1) / (drawn > 0).sum(axis=1)

    return statistic


def require_interval(estimate: Estimate, *, documents: int, widest: float) -> None:
    """Raise CorpusError, naming the documents needed, where half the interval exceeds `widest` (0: never)."""
    half = (estimate.high - estimate.low) / 2
    if not widest or half <= widest:
        return
    needed = math.ceil(documents * (half / widest) ** 2 - 1e-6)
    raise CorpusError(
        f"{documents} held-out documents give bits per byte within ±{half:.3f}, ±{widest:g} is asked for",
        where="evaluate.max_interval",
        next_step=f"hold out and score about {needed} documents (split.held_out, evaluate.documents)",
    )


def overlap_slices(overlaps: Sequence[float]) -> dict[str, list[int]]:
    """Split documents at the median overlap with training text: indices by 'overlap_low', 'overlap_high'.

    Empty where all overlaps are equal, since then nothing sets the halves apart.
    """
    middle = float(np.median(overlaps))
    high = [i for i, overlap in enumerate(overlaps) if overlap > middle]
    low = [i for i, overlap in enumerate(overlaps) if overlap <= middle]
    return {"overlap_low": low, "overlap_high": high} if low and high else {}


def only(documents: Sequence[int], count: int, statistic: Statistic) -> Statistic:
    """Restrict a statistic over `count` documents to some of them."""
    mask = np.zeros(count)
    mask[list(documents)] = 1.0
    return lambda weights: statistic(weights * mask)


def difference_row(
    metric: str, a: str, b: str, found: Estimate, items: int, *, confidence: float, **more: Any
) -> dict[str, Any]:
    """Return a row of `comparisons`: a minus b, its p-value, and the smallest difference that would be seen."""
    bounds = {"difference": found.value, "low": found.low, "high": found.high}
    seen = {"p": p_value(found), "detectable": detectable(found.error, confidence)}
    return {"metric": metric, "a": a, "b": b, **bounds, **seen, "items": items, **more}


def p_value(difference: Estimate) -> float:
    """Return the two-sided p-value of a difference by its bootstrap standard error, as a normal variable."""
    if not difference.error:
        return 0.0 if difference.value else 1.0
    return math.erfc(abs(difference.value) / difference.error / math.sqrt(2))


def detectable(error: float, confidence: float) -> float:
    """Return the difference that a test at this confidence finds four times in five, by its standard error.

    The minimum detectable effect at a power of 0.8 (Cohen, Statistical Power Analysis, 1988).
    """
    normal = NormalDist()
    return (normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(_POWER)) * error


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[i]))
        adjusted[i] = highest
    return adjusted
