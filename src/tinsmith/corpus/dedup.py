"""Near-duplicates: MinHash proposes pairs, the Jaccard index of word 5-grams decides.

MinHash with banding after Broder (1997) and Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
chapter 3: two texts of Jaccard index j share at least one of b bands of r hashes with probability 1 - (1 -
j^r)^b.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tinsmith.corpus.engine import (
    DataFrame,
    DataType,
    Series,
    batch_function,
    col,
    list_agg,
    list_count,
    minhash,
)
from tinsmith.corpus.text import MULTIPLIER, Hashes, WordHasher, hash_ngrams

SHINGLE_WORDS = 5
MISS = 0.01  # probability that a pair exactly at the threshold is never proposed
MAX_HASHES = 512


class Banding(NamedTuple):
    """How a signature is cut: `bands` times `rows` hashes."""

    bands: int
    rows: int

    def probability(self, jaccard: float) -> float:
        """Return the probability that a pair of this Jaccard index is proposed."""
        return 1.0 - (1.0 - jaccard**self.rows) ** self.bands


def choose_banding(threshold: float) -> Banding:
    """Return the banding of longest bands that proposes pairs at the threshold with probability > 1 - MISS.

    Long bands propose few pairs in vain; each row more costs hashes, of which MAX_HASHES are allowed (at
    least one row is). At 0.5 that gives 72 bands of 4, at 0.7 54 bands of 7.
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


def find_buckets(frame: DataFrame, banding: Banding, seed: int) -> list[tuple[int, ...]]:
    """Return the groups of rows that share a band.

    The frame holds `row` (int) and `folded` (words joined by spaces). Signatures, bands and grouping run on
    the engine. Groups are sorted, each group once.
    """
    signature = minhash(
        col("folded"),
        num_hashes=banding.bands * banding.rows,
        ngram_size=SHINGLE_WORDS,
        seed=seed % 2**32,
        hash_function="xxhash3_64",
    )

    @batch_function(return_dtype=DataType.list(DataType.uint64()))
    def band_keys(signatures: Series) -> list[Hashes]:
        flat = signatures.to_arrow().flatten().to_numpy(zero_copy_only=False)
        return list(_band_keys(flat.astype(np.uint64).reshape(len(signatures), banding.bands, banding.rows)))

    bands = frame.where(col("folded") != "").select("row", band_keys(signature).alias("band")).explode("band")
    groups = bands.groupby("band").agg(list_agg(col("row")).alias("rows"))
    shared = groups.where(list_count(col("rows")) > 1).to_pydict()["rows"]
    return sorted({tuple(sorted(rows)) for rows in shared})


def _band_keys(hashes: Hashes) -> Hashes:
    """Return a key for each band (D, bands), from hashes (D, bands, rows): equal bands have equal keys."""
    documents, bands, rows = hashes.shape
    keys = np.tile(np.arange(1, bands + 1, dtype=np.uint64), (documents, 1))
    for row in range(rows):
        keys = (keys ^ (keys >> np.uint64(29))) * MULTIPLIER + hashes[:, :, row]
    return keys


def shingle_sets(folded: Iterable[str]) -> list[Hashes]:
    """Return the sorted set of hashed 5-grams of each text, given as folded words joined by spaces.

    A text of fewer words is one shingle, as it is for the engine's MinHash; one without words has none.
    """
    hasher = WordHasher()
    sets = []
    for text in folded:
        words = hasher.hash_words(text.split())
        sets.append(np.unique(hash_ngrams(words, min(SHINGLE_WORDS, max(1, len(words))))))
    return sets


def jaccard(a: Hashes, b: Hashes) -> float:
    """Return the Jaccard index of two sorted sets; two empty sets have none in common: 0."""
    if not len(a) or not len(b):
        return 0.0
    small, large = (a, b) if len(a) < len(b) else (b, a)
    places = np.minimum(np.searchsorted(large, small), len(large) - 1)
    both = int((large[places] == small).sum())
    return both / (len(a) + len(b) - both)


class Similarities:
    """The true Jaccard index of pairs of rows, each computed once and only when asked for."""

    def __init__(self, sets: Mapping[int, Hashes]) -> None:
        self.sets = sets
        self.known: dict[tuple[int, int], float] = {}

    def reach(self, threshold: float) -> Callable[[int, int], bool]:
        """Return the function that says whether two rows reach a threshold."""

        def similar(a: int, b: int) -> bool:
            pair = (a, b) if a < b else (b, a)
            small, large = sorted((len(self.sets[a]), len(self.sets[b])))
            if small < threshold * large:  # so different in size that they cannot
                return False
            if pair not in self.known:
                self.known[pair] = jaccard(self.sets[a], self.sets[b])
            return self.known[pair] >= threshold

        return similar


def find_components(
    rows: Sequence[int], buckets: Iterable[Sequence[int]], similar: Callable[[int, int], bool]
) -> dict[int, int]:
    """Return the smallest member of each row's component, where similar rows that share a bucket are linked.

    Rows already in one component are not compared again, so a big family costs little more than its size.
    """
    parent = {row: row for row in rows}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for bucket in buckets:
        for a, b in itertools.combinations([row for row in bucket if row in parent], 2):
            first, second = sorted((root(a), root(b)))
            if first != second and similar(a, b):
                parent[second] = first
    return {row: root(row) for row in rows}


def choose_kept(
    components: dict[int, int], lengths: Sequence[int], similar: Callable[[int, int], bool]
) -> dict[int, int]:
    """Return, for each row, the row that is kept in its stead (itself, where it is kept).

    In each component the longest row (ties: the first) stays and stands for those similar to it, then the
    longest of the rest, and so on. A chain of small steps thus never removes a row that resembles nothing
    kept.
    """
    families: dict[int, list[int]] = {}
    for row in sorted(components, key=lambda row: (-lengths[row], row)):
        families.setdefault(components[row], []).append(row)
    kept: dict[int, int] = {}
    for family in families.values():
        leaders: list[int] = []
        for row in family:
            kept[row] = next((leader for leader in leaders if similar(leader, row)), row)
            if kept[row] == row:
                leaders.append(row)
    return kept
