"""Choose the documents to hold out, and measure how much of them the training text contains too."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.text.words import Hashes, WordHasher, fold, hash_ngrams

Indices = NDArray[np.int64]

OVERLAP_WORDS = 13  # the n-gram of GPT-3's contamination study (Brown et al. 2020, appendix C)
LARGEST_SHARE = 0.1  # of a requested count that one cluster may fill


def membership(cluster: str, seed: int) -> float:
    """Map a cluster to [0, 1) by a hash of its id and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{cluster}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def choose_held_out(clusters: Sequence[str], held_out: float, seed: int) -> set[str]:
    """Return the clusters to hold out, given the cluster of each document.

    Below 1, `held_out` is a fraction: a cluster is held out if its membership is below it, whatever else the corpus
    contains. From 1 it is a count of documents, filled in order of membership. Clusters of more than a tenth of the
    count (of more than one document, below 20) then stay in training, so that no family dominates the held-out
    documents, and the count is exceeded by less than a tenth. Too few small clusters give fewer documents.
    """
    sizes = Counter(clusters)
    if held_out < 1:
        return {cluster for cluster in sizes if membership(cluster, seed) < held_out}
    largest = max(1, int(held_out * LARGEST_SHARE))
    chosen: set[str] = set()
    documents = 0
    for cluster in sorted(sizes, key=lambda cluster: (membership(cluster, seed), cluster)):
        if documents >= held_out:
            break
        if sizes[cluster] <= largest:
            chosen.add(cluster)
            documents += sizes[cluster]
    return chosen


class Overlap(NamedTuple):
    """How much of a held-out document also occurs in training text."""

    shared_words: int  # words covered by shared n-grams
    words: int
    share: float  # of the document's n-grams


class SharedRun(NamedTuple):
    """A verbatim run in a training and a held-out document: their indices, and its length in words."""

    training: int
    held_out: int
    words: int


def hash_texts(texts: Iterable[str]) -> list[Hashes]:
    """Return the hashed words (N,) of each text, without case, punctuation and white space."""
    return list(stream_hashes(texts))


def stream_hashes(texts: Iterable[str]) -> Iterator[Hashes]:
    """Yield what `hash_texts` returns."""
    hasher = WordHasher()
    return (hasher.hash_words(fold(text)) for text in texts)


def compare(
    held_out: Sequence[Hashes], training: Iterable[Hashes], words: int, *, drop_shared: bool
) -> tuple[list[SharedRun], list[Overlap]]:
    """Return `find_shared_runs` and `measure_overlap` from one pass over the training documents.

    With `drop_shared`, training documents that share a run do not count in the overlap.
    """
    shared, overlap = _Runs(held_out, words), _Overlaps(held_out)
    runs: list[SharedRun] = []
    for number, document in enumerate(training):
        found = shared.in_document(number, document)
        runs += found
        if not (found and drop_shared):
            overlap.add(document)
    return runs, overlap.measure()


def measure_overlap(held_out: Sequence[Hashes], training: Iterable[Hashes]) -> list[Overlap]:
    """Return the overlap of each held-out document with all training text, by n-grams of OVERLAP_WORDS words.

    Documents are hashed words (N,). Each occurrence of an n-gram counts. A shorter document is one n-gram; one
    without words has an overlap of 0.
    """
    overlaps = _Overlaps(held_out)
    for document in training:
        overlaps.add(document)
    return overlaps.measure()


def find_shared_runs(held_out: Sequence[Hashes], training: Iterable[Hashes], words: int) -> list[SharedRun]:
    """Return each pair that shares a verbatim run of at least `words` words, with its longest run.

    A run is a stretch of the training document whose every n-gram of `words` words occurs in the held-out one. If the
    held-out one repeats itself, these may come from different slots.
    """
    index = _Runs(held_out, words)
    return [run for number, document in enumerate(training) for run in index.in_document(number, document)]


class _Overlaps:
    """Mark the n-grams of held-out documents that occur in training documents."""

    def __init__(self, held_out: Sequence[Hashes]) -> None:
        self.held_out = held_out
        self.lengths = [min(OVERLAP_WORDS, len(words)) for words in held_out]
        by_length: dict[int, list[Hashes]] = {}
        for words, n in zip(held_out, self.lengths, strict=True):
            if n:
                by_length.setdefault(n, []).append(hash_ngrams(words, n))
        self.index = {n: np.unique(np.concatenate(grams)) for n, grams in by_length.items()}
        self.found = {n: np.zeros(len(index), dtype=bool) for n, index in self.index.items()}

    def add(self, document: Hashes) -> None:
        """Mark the n-grams of a training document."""
        for n, index in self.index.items():
            slots, hits = _look_up(hash_ngrams(document, n), index)
            self.found[n][slots[hits]] = True

    def measure(self) -> list[Overlap]:
        """Return the overlap of each held-out document with the documents added."""
        occurring = {n: index[self.found[n]] for n, index in self.index.items()}
        overlaps = []
        for words, n in zip(self.held_out, self.lengths, strict=True):
            hits = np.isin(hash_ngrams(words, n), occurring[n]) if n else np.zeros(0, dtype=bool)
            covered = np.convolve(hits, np.ones(n, dtype=int)) > 0 if n else hits
            overlaps.append(Overlap(int(covered.sum()), len(words), float(hits.mean()) if n else 0.0))
        return overlaps


class _Runs:
    """An index of the n-grams of held-out documents that finds verbatim runs."""

    def __init__(self, held_out: Sequence[Hashes], words: int) -> None:
        self.words = words
        self.index, self.starts, self.owners = _index_owners(held_out, words)

    def in_document(self, number: int, document: Hashes) -> list[SharedRun]:
        """Return the longest run that a training document shares with each held-out one."""
        slots, hits = _look_up(hash_ngrams(document, self.words), self.index)
        positions = np.flatnonzero(hits)
        if not len(positions):
            return []
        grams = slots[positions]
        matches = _expand(positions, self.starts[grams], self.starts[grams + 1], self.owners)
        return [
            SharedRun(number, owner, longest + self.words - 1)
            for owner, longest in _longest_stretches(*matches)
        ]


def _index_owners(documents: Sequence[Hashes], n: int) -> tuple[Hashes, Indices, Indices]:
    """Return sorted n-gram hashes (G,), the offsets of their owners (G + 1,), and the owners' indices."""
    grams = [np.unique(hash_ngrams(words, n)) for words in documents]
    hashes = np.concatenate(grams)
    numbers = np.repeat(np.arange(len(grams)), [len(gram) for gram in grams])
    order = np.argsort(hashes, kind="stable")
    index, starts = np.unique(hashes[order], return_index=True)
    return index, np.append(starts, len(hashes)), numbers[order]


def _look_up(hashes: Hashes, index: Hashes) -> tuple[Indices, NDArray[np.bool_]]:
    """Return the slot of each hash in the sorted index, and whether it is there."""
    if not len(index):
        return np.zeros(len(hashes), dtype=np.int64), np.zeros(len(hashes), dtype=bool)
    slots = np.minimum(np.searchsorted(index, hashes), len(index) - 1)
    return slots, index[slots] == hashes


def _expand(positions: Indices, starts: Indices, ends: Indices, owners: Indices) -> tuple[Indices, Indices]:
    """Return (owner, position) of each match, sorted; the n-gram at a position has the owners [start, end)."""
    counts = ends - starts
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    owner = owners[np.repeat(starts, counts) + within]
    position = np.repeat(positions, counts)
    order = np.lexsort((position, owner))
    return owner[order], position[order]


def _longest_stretches(owner: Indices, position: Indices) -> Iterator[tuple[int, int]]:
    """Yield each owner with its greatest number of consecutive positions, from sorted matches."""
    breaks = np.flatnonzero((np.diff(owner) != 0) | (np.diff(position) != 1)) + 1
    first = np.concatenate([[0], breaks])
    lengths = np.diff(np.append(first, len(owner)))
    longest: dict[int, int] = {}
    for number, length in zip(owner[first].tolist(), lengths.tolist(), strict=True):
        longest[number] = max(length, longest.get(number, 0))
    yield from sorted(longest.items())
