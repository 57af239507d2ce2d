"""Intervals and paired differences by bootstrap over documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

import numpy as np

from tinsmith.base.errors import CorpusError

# A statistic maps how often each document was drawn (resamples, documents) to one value per resample.
Statistic = Callable[[np.ndarray], np.ndarray]
_POWER = 0.8
_STEP = 1e-4  # of a share that is searched for
_NO_SPREAD = 1e-9  # of a value: what sums in another order differ by
_BLOCK = 256


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `error` is its standard error over the resamples of so many documents."""

    value: float
    low: float
    high: float
    error: float = 0.0
    documents: int = field(default=0, kw_only=True)

    @property
    def p_value(self) -> float:
        """Return the two-sided p-value of a difference by its bootstrap standard error, as a normal variable.

        Where the resamples do not spread, all documents differ alike and no error can be estimated. Then it is that
        of the sign test: so many documents point one way by chance once in 2 ** (documents - 1) times.
        """
        if self.error <= _NO_SPREAD * abs(self.value):
            return min(1.0, 2.0 ** (1 - self.documents)) if self.value else 1.0
        return math.erfc(abs(self.value) / self.error / math.sqrt(2))

    def detectable(self, confidence: float) -> float:
        """Return the difference that a test at this confidence would detect four times in five."""
        return detectable(self.error, confidence)


def detectable(error: float, confidence: float) -> float:
    """Return the minimum detectable effect at a power of 0.8, by a standard error.

    Cohen, Statistical Power Analysis, 1988.
    """
    normal = NormalDist()
    return (normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(_POWER)) * error


def spread(low: float, high: float, confidence: float) -> float:
    """Return the standard error of a normal variable with this interval."""
    return (high - low) / 2 / NormalDist().inv_cdf((1 + confidence) / 2)


def detectable_share(items: int, floor: float, confidence: float) -> float | None:
    """Return the share of so many items that would be shown to exceed `floor` four times in five.

    Shown is a share whose bootstrap interval lies above the floor. The resamples of a share are binomial, so this needs
    no draw, and holds where no item was a hit and the resamples have no spread. None where no share would be shown.
    """
    above, tail = math.floor(floor * items + 1e-9) + 1, (1 - confidence) / 2
    shown = (hits for hits in range(above, items + 1) if _at_least(above, items, hits / items) > 1 - tail)
    needed = next(shown, None)
    if needed is None:
        return None
    low, high = 0.0, 1.0
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (low, middle) if _at_least(needed, items, middle) >= _POWER else (middle, high)
    return high


def _at_least(hits: int, items: int, share: float) -> float:
    """Return the probability of so many hits or more among the items, each with the same share above 0."""
    if share >= 1:
        return 1.0
    ways = math.lgamma(items + 1)
    return math.fsum(
        math.exp(
            ways
            - math.lgamma(n + 1)
            - math.lgamma(items - n + 1)
            + n * math.log(share)
            + (items - n) * math.log1p(-share)
        )
        for n in range(hits, items + 1)
    )


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
        return Estimate(value, float(low), float(high), float(drawn.std()), documents=self._count(statistic))

    def _count(self, statistic: Statistic) -> int:
        """Return how many documents a statistic looks at: those on which alone it is defined."""
        blocks = (
            np.eye(min(_BLOCK, self.documents - start), self.documents, k=start)
            for start in range(0, self.documents, _BLOCK)
        )
        return sum(int(np.isfinite(statistic(block)).sum()) for block in blocks)

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


class ClassCounts:
    """How often each label is right, said and true, by document: F1 of all resamples is then one product.

    Answers and predictions are sets of labels; what is not a label counts as said nowhere. A class that nobody says
    and that is nowhere true in a resample does not count there (as in scikit-learn's f1_score).
    """

    def __init__(
        self,
        places: Sequence[int],
        answers: Sequence[Collection[str]],
        predictions: Sequence[Collection[str]],
        labels: Sequence[str],
        documents: int,
    ) -> None:
        """Count rows of answers and predictions; `places` are their documents' places among all `documents`."""
        order = {label: place for place, label in enumerate(labels)}
        self.right, self.said, self.true = (np.zeros((documents, len(order))) for _ in range(3))
        for place, answer, prediction in zip(places, answers, predictions, strict=True):
            for counts, named in (
                (self.right, set(answer) & set(prediction)),
                (self.said, set(prediction)),
                (self.true, set(answer)),
            ):
                for label in named & order.keys():
                    counts[place, order[label]] += 1

    def f1(self, average: Literal["weighted", "macro", "micro"]) -> Statistic:
        """Return F1, averaged over classes by their size or alike, or of all decisions together."""

        def statistic(weights: np.ndarray) -> np.ndarray:
            right, both, true = weights @ self.right, weights @ (self.said + self.true), weights @ self.true
            with np.errstate(invalid="ignore", divide="ignore"):
                if average == "micro":
                    return 2 * right.sum(axis=1) / both.sum(axis=1)
                by_class = np.where(both > 0, 2 * right / both, 0.0)
                share = true if average == "weighted" else both > 0
                return (by_class * share).sum(axis=1) / share.sum(axis=1)

        return statistic

    def balanced_accuracy(self) -> Statistic:
        """Return the mean over the drawn classes of the share found."""

        def statistic(weights: np.ndarray) -> np.ndarray:
            right, true = weights @ self.right, weights @ self.true
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.where(true > 0, right / true, 0.0).sum(axis=1) / (true > 0).sum(axis=1)

        return statistic


def calibration_error(
    order: Mapping[str, int], documents: Sequence[str], gaps: Sequence[float], bins: Sequence[Sequence[int]]
) -> Statistic:
    """Return the expected calibration error (Naeini et al. 2015) over bins of rows, which stay as they are.

    `gaps` are confidence minus correctness of each row. A bin's error is its mean gap, bins weigh what was drawn.
    """
    sums, counts = np.zeros((len(order), len(bins))), np.zeros(len(order))
    for number, rows in enumerate(bins):
        for row in rows:
            sums[order[documents[row]], number] += gaps[row]
            counts[order[documents[row]]] += 1

    def statistic(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.abs(weights @ sums).sum(axis=1) / (weights @ counts)

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


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[i]))
        adjusted[i] = highest
    return adjusted


def mean_by_document(
    documents: Sequence[str], values: Sequence[float], sizes: Sequence[float] | None = None
) -> Statistic:
    """Return the mean of items' values as a statistic over documents, in the order in which they first occur.

    The items of one document are drawn together, since they are not independent. With `sizes` the values are summed
    over them, as bits over bytes are.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys(documents))}
    return mean_over(order, documents, values, sizes)


def mean_over(
    order: Mapping[str, int],
    documents: Sequence[str],
    values: Sequence[float],
    sizes: Sequence[float] | None = None,
) -> Statistic:
    """Return `mean_by_document` over documents whose places are given, as paired statistics need."""
    above, below = [0.0] * len(order), [0.0] * len(order)
    for place, (document, value) in enumerate(zip(documents, values, strict=True)):
        above[order[document]] += value
        below[order[document]] += 1.0 if sizes is None else sizes[place]
    return ratio(above, below)
