"""Measure how well scores agree with the truth, with intervals from resampled documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Values = NDArray[np.float64]
_RESAMPLES = 1000


class Figure(NamedTuple):
    """A value and the 95% interval of its resamples."""

    value: float
    low: float
    high: float


def auc(truth: Values, scores: Values) -> float:
    """Return the chance that a positive (1) outscores a negative (0), ties half; 0.5 if one side is empty."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return 0.5
    ranks = rankdata(scores)
    return float((ranks[truth > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def spearman(truth: Values, scores: Values) -> float:
    """Return the correlation of ranks; 0 if one side does not vary."""
    first, second = rankdata(truth), rankdata(scores)
    if not first.std() or not second.std():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def f1(truth: Values, scores: Values, threshold: float) -> float:
    """Return F1 of `scores >= threshold` against `truth >= threshold`; 0 if neither has any."""
    true, predicted = truth >= threshold, scores >= threshold
    total = int(true.sum() + predicted.sum())
    return 2.0 * int((true & predicted).sum()) / total if total else 0.0


def resampled(
    measure: Callable[[Values, Values], float], truth: Sequence[float], scores: Sequence[float]
) -> Figure:
    """Return a measure of two lists (N,) and the 95% interval over resamples of their N documents."""
    first, second = np.asarray(truth, dtype=float), np.asarray(scores, dtype=float)
    generator = np.random.default_rng(0)
    values = []
    for _ in range(_RESAMPLES):
        chosen = generator.integers(len(first), size=len(first))
        values.append(measure(first[chosen], second[chosen]))
    low, high = np.percentile(values, [2.5, 97.5])
    return Figure(measure(first, second), float(low), float(high))
