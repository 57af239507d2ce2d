"""Sign texts by MinHash over word 5-grams, cut into bands, and estimate their Jaccard index from sketches.

MinHash with banding after Broder (1997) and Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
chapter 3: two texts of Jaccard index j share at least one of b bands of r hashes with probability 1 - (1 -
j^r)^b. The sketch keeps 8 bits of each hash (Li and Koenig 2010, b-bit minwise hashing).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.text.kernels import compiled, fold_words, hash_ngrams, mix
from tinsmith.corpus.text.words import Hashes

SHINGLE_WORDS = 5
MISS = 0.01  # probability that a pair exactly at the threshold is never proposed
MAX_HASHES = 512
DEVIATIONS = 5  # standard deviations below the threshold from which an estimate rules a pair out
_SKETCH_VALUES = 256
Minima = NDArray[np.uint32]
Sketches = NDArray[np.uint8]


class Banding(NamedTuple):
    """The shape of a signature: `bands` times `rows` hashes."""

    bands: int
    rows: int

    @property
    def hashes(self) -> int:
        """Return the number of hashes of a signature."""
        return self.bands * self.rows

    def probability(self, jaccard: float) -> float:
        """Return the probability that a pair of this Jaccard index is proposed."""
        return 1.0 - (1.0 - jaccard**self.rows) ** self.bands


def choose_banding(threshold: float) -> Banding:
    """Return the banding with the longest bands that proposes pairs at the threshold with probability > 1 - MISS.

    Longer bands propose fewer pairs in vain but need more hashes, at most MAX_HASHES. Threshold 0.5 gives 72 bands of
    4 rows, 0.7 gives 54 bands of 7.
    """
    best = Banding(_bands_needed(threshold, 1), 1)
    for rows in range(2, MAX_HASHES):
        bands = _bands_needed(threshold, rows)
        if bands * rows > MAX_HASHES:
            break
        best = Banding(bands, rows)
    return best


def _bands_needed(threshold: float, rows: int) -> int:
    chance = threshold**rows
    return 1 if chance >= 1.0 - MISS else math.floor(math.log(MISS) / math.log1p(-chance)) + 1


def shingle_set(text: str) -> Hashes:
    """Return the sorted set of hashed 5-grams of a text's folded words; fewer words form one shingle."""
    return np.unique(_shingles(text))


def _shingles(text: str) -> Hashes:
    words = fold_words(text).hashes
    return hash_ngrams(words, min(SHINGLE_WORDS, max(1, len(words))))


class Signer:
    """Compute signatures with one seed; a text has the same signature on every machine."""

    def __init__(self, banding: Banding, seed: int) -> None:
        self.banding = banding
        numbers = np.arange(2 * banding.hashes, dtype=np.uint64) + (np.uint64(seed % 2**32) << np.uint64(32))
        mixed = np.array([mix(number + np.uint64(1)) for number in numbers], dtype=np.uint64)
        self.factors = (mixed[: banding.hashes] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
        self.masks = (mixed[banding.hashes :] >> np.uint64(32)).astype(np.uint32)

    def sign(self, text: str) -> Minima | None:
        """Return the minimum of each hash function over the shingles of a text (H,); None without words."""
        shingles = _shingles(text)
        return _minima(shingles, self.factors, self.masks) if len(shingles) else None

    def band_keys(self, minima: Minima) -> Hashes:
        """Return a key per band (bands,); equal bands have equal keys."""
        return _band_keys(minima, self.banding.bands, self.banding.rows)


@compiled
def _minima(shingles: Hashes, factors: Minima, masks: Minima) -> Minima:
    count = len(shingles)
    small = np.empty(count, np.uint32)
    for index in range(count):
        small[index] = np.uint32(mix(shingles[index]) >> np.uint64(32))
    minima = np.empty(len(factors), np.uint32)
    for function in range(len(factors)):
        factor, mask = factors[function], masks[function]
        least = np.uint32(0xFFFFFFFF)
        for index in range(count):
            # An odd factor and a mask permute the 32-bit integers; 32 bits use vector registers best.
            least = min(least, np.uint32((small[index] ^ mask) * factor))
        minima[function] = least
    return minima


@compiled
def _band_keys(minima: Minima, bands: int, rows: int) -> Hashes:
    keys = np.empty(bands, np.uint64)
    for band in range(bands):
        key = np.uint64(band + 1)
        for row in range(rows):
            key = mix(key ^ (np.uint64(minima[band * rows + row]) + (key << np.uint64(32))))
        keys[band] = key
    return keys


def sketch(minima: Minima) -> Sketches:
    """Return the lowest 8 bits of each hash (H,)."""
    return (minima & np.uint32(_SKETCH_VALUES - 1)).astype(np.uint8)


def estimate(a: Sketches, b: Sketches) -> NDArray[np.float64]:
    """Return the estimated Jaccard index of each pair of sketches, from (N, H) and (N, H)."""
    chance = 1 / _SKETCH_VALUES
    return ((a == b).mean(axis=1) - chance) / (1 - chance)


def least_estimate(threshold: float, hashes: int) -> float:
    """Return the estimate below which a pair almost never reaches a threshold."""
    spread = max(threshold * (1 - threshold), 1 / hashes)
    return threshold - DEVIATIONS * math.sqrt(spread / hashes)


def jaccard(a: Hashes, b: Hashes) -> float:
    """Return the Jaccard index of two sorted sets; 0 if one is empty."""
    if not len(a) or not len(b):
        return 0.0
    both = _count_common(a, b)
    return both / (len(a) + len(b) - both)


@compiled
def _count_common(a: Hashes, b: Hashes) -> int:
    i, j, both = 0, 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            both += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return both
