"""Turn texts into sparse rows of hashed words and pairs of words, for linear models."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tinsmith.corpus.steps.score.excerpt import windows
from tinsmith.corpus.text.kernels import fold_words, hash_ngrams
from tinsmith.corpus.text.words import MULTIPLIER

_BITS = 18
BUCKETS = 1 << _BITS
Weights = NDArray[np.float64]


def terms(text: str) -> NDArray[np.int64]:
    """Return the bucket of each word, then of each pair of neighbours (2N - 1,), ignoring case."""
    words = fold_words(text).hashes
    hashes = np.concatenate([words, hash_ngrams(words, 2)])
    return ((hashes * MULTIPLIER) >> np.uint64(64 - _BITS)).astype(np.int64)


def row_of(text: str) -> tuple[NDArray[np.int64], Weights]:
    """Return the sorted buckets of a text and their values: 1 + log(count), scaled to a unit vector."""
    found, counts = np.unique(terms(text), return_counts=True)
    values = 1.0 + np.log(counts)
    return found, values / max(float(np.sqrt((values**2).sum())), 1e-12)


def matrix(texts: Iterable[str]) -> sparse.csr_matrix:
    """Return one row per text (N, BUCKETS)."""
    rows = [row_of(text) for text in texts]
    ends = np.cumsum([0, *(len(found) for found, _ in rows)])
    columns = np.concatenate([np.zeros(0, dtype=np.int64), *(found for found, _ in rows)])
    values = np.concatenate([np.zeros(0), *(values for _, values in rows)])
    return sparse.csr_matrix((values, columns, ends), shape=(len(rows), BUCKETS))


def document_row(text: str) -> sparse.csr_matrix:
    """Return the mean of the rows of a document's windows (1, BUCKETS)."""
    return sparse.csr_matrix(matrix(windows(text)).mean(axis=0))


def linear_value(text: str, weights: Weights) -> float:
    """Return the product of a document's row with weights (BUCKETS,): the mean over its windows."""
    values = [float(row @ weights[found]) for found, row in map(row_of, windows(text))]
    return sum(values) / len(values)


def moving_words(text: str, weights: Weights, most: int = 6) -> list[tuple[str, float]]:
    """Return the words and pairs that moved a document's value most, strongest first, with their amounts."""
    total: dict[str, float] = {}
    pieces = windows(text)
    for piece in pieces:
        found, row = row_of(piece)
        amounts = dict(zip(found.tolist(), (row * weights[found] / len(pieces)).tolist(), strict=True))
        words = _spelled(piece)
        spelled = [*words, *map(" ".join, itertools.pairwise(words))]
        for term, bucket in dict(zip(spelled, terms(piece).tolist(), strict=True)).items():
            total[term] = total.get(term, 0.0) + amounts[bucket]
    ranked = sorted(total.items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    return [(term, amount) for term, amount in ranked[:most] if amount]


def _spelled(text: str) -> list[str]:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
    words = fold_words(text)
    return [text[start:end].casefold() for start, end in zip(words.starts, words.ends, strict=True)]
