"""Cheap opponents that keep us honest: a compressor, an n-gram model, a count of labels, a linear model."""

from __future__ import annotations

import bz2
import collections
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tinsmith.base.errors import CorpusError

ORDER = 8  # bytes in the longest n-gram: they fit in one 64-bit integer
NGRAM_BYTES = 16_000_000
PRIMING_BYTES = 700_000  # with a document of up to 200 kB it fits into one block of bzip2
PRIMING_SAMPLES = 400


def majority(labels: Sequence[str], count: int) -> list[str]:
    """Answer every item with the commonest label of the training documents."""
    _two_classes(labels)
    counts = collections.Counter(labels)
    return [min(counts, key=lambda label: (-counts[label], label))] * count


def tfidf(texts: Sequence[str], labels: Sequence[str], questions: Sequence[str]) -> list[str]:
    """Answer by logistic regression on TF-IDF of words and word pairs in training documents' openings."""
    _two_classes(labels)
    vectors = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), max_features=100_000, token_pattern=r"(?u)\b\w+\b"
    )
    model = LogisticRegression(C=10.0, max_iter=300)
    try:
        model.fit(vectors.fit_transform(texts), list(labels))
    except ValueError as error:
        raise CorpusError(
            f"TF-IDF finds nothing to learn from ({error})",
            where="evaluate",
            next_step="check the task's documents",
        ) from error
    return [str(label) for label in model.predict(vectors.transform(questions))]


def _two_classes(labels: Sequence[str]) -> None:
    if len(set(labels)) < 2:
        raise CorpusError(
            f"the training documents know {len(set(labels))} answer(s) to the task, a control needs two",
            where="tasks",
            next_step="check the answer template, or add documents of other kinds",
        )


def compressor_bits(training: Sequence[str], documents: Sequence[str], *, seed: int) -> list[float]:
    """Return the bits that each document adds to bzip2's output after priming with training text.

    The priming is a draw of equal openings of training documents that, with the document, fills one block.
    """
    ids = np.random.default_rng(seed).permutation(len(training))[:PRIMING_SAMPLES]
    share = max(1, PRIMING_BYTES // max(1, len(ids)))
    priming = b"\n\n".join(training[i].encode("utf-8")[:share] for i in ids)
    alone = len(bz2.compress(priming))
    return [8.0 * (len(bz2.compress(priming + b"\n\n" + text.encode("utf-8"))) - alone) for text in documents]


@dataclass(frozen=True)
class _Level:
    """Sorted n-grams of one length with counts, and sums over grams that share all but the last byte."""

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float


class NgramModel:
    """Interpolated Kneser-Ney over bytes (Kneser and Ney, 1995; Chen and Goodman, 1999), order 8."""

    def __init__(self, texts: Sequence[str], *, order: int = ORDER) -> None:
        assert 1 <= order <= 8
        self.order = order
        grams = np.concatenate([_grams(text, order) for text in texts] or [np.empty(0, np.uint64)])
        values, counts = np.unique(grams, return_counts=True)
        self.levels: list[_Level] = []
        for length in range(order, 0, -1):
            self.levels.append(_level(values, counts))
            # Below the top a gram counts once for each different byte before it.
            values, counts = np.unique(values & np.uint64(256 ** (length - 1) - 1), return_counts=True)
        self.levels.reverse()

    def probabilities(self, text: str) -> np.ndarray:
        """Return the probability of each byte of a text after those before it."""
        queries = _grams(text, self.order)
        found = np.full(len(queries), 1 / 256)
        for length, level in enumerate(self.levels, 1):
            mask = np.uint64(2 ** (8 * length) - 1)
            found = _interpolate(level, queries & mask, found)
        return found

    def bits(self, text: str) -> float:
        """Return the bits of a text's bytes."""
        return float(-np.log2(self.probabilities(text)).sum())


def ngram_bits(training: Sequence[str], documents: Sequence[str], *, seed: int) -> list[float]:
    """Return each document's bits under a byte n-gram model of the training text, or of a draw of it."""
    model = NgramModel(draw_training(training, seed=seed))
    return [model.bits(text) for text in documents]


def draw_training(training: Sequence[str], *, seed: int) -> list[str]:
    """Draw training texts, the last one cut, up to what an n-gram model is made of."""
    chosen: list[str] = []
    budget = NGRAM_BYTES
    for i in np.random.default_rng(seed).permutation(len(training)):
        chosen.append(training[i][: max(0, budget)])
        budget -= len(training[i].encode("utf-8"))
        if budget <= 0:
            break
    return chosen


def _grams(text: str, order: int) -> np.ndarray:
    """Return one integer per byte: the byte and the order - 1 before it; zeros stand before the text."""
    data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.uint64)
    padded = np.concatenate([np.zeros(order - 1, np.uint64), data])
    grams = np.zeros(len(data), np.uint64)
    for place in range(order):
        grams = (grams << np.uint64(8)) | padded[place : place + len(data)]
    return grams


def _level(grams: np.ndarray, counts: np.ndarray) -> _Level:
    contexts, starts = np.unique(grams >> np.uint64(8), return_index=True)
    totals = np.add.reduceat(counts, starts) if len(starts) else counts
    kinds = np.diff(np.append(starts, len(grams)))
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once and twice else 0.5
    return _Level(grams, counts, contexts, totals, kinds, min(max(discount, 0.1), 0.95))


def _interpolate(level: _Level, queries: np.ndarray, lower: np.ndarray) -> np.ndarray:
    count = _look_up(level.grams, level.counts, queries)
    contexts = queries >> np.uint64(8)
    total = _look_up(level.contexts, level.totals, contexts)
    kinds = _look_up(level.contexts, level.kinds, contexts)
    safe = np.maximum(total, 1)
    mixed = np.maximum(count - level.discount, 0) / safe + level.discount * kinds / safe * lower
    return np.where(total > 0, mixed, lower)


def _look_up(keys: np.ndarray, values: np.ndarray, queries: np.ndarray) -> np.ndarray:
    if not len(keys):
        return np.zeros(len(queries))
    places = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    return np.where(keys[places] == queries, values[places], 0).astype(float)


def bits_per_byte(bits: Sequence[float], sizes: Sequence[int]) -> float:
    """Return the sum of bits over the sum of bytes."""
    return math.fsum(bits) / sum(sizes)
