"""What is put aside before anything is learnt, and how much of it the training text says too."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.text.words import Hashes, WordHasher, fold, hash_ngrams

Places = NDArray[np.int64]

OVERLAP_WORDS = 13  # the n-gram of GPT-3's contamination study (Brown et al. 2020, appendix C)
LARGEST_SHARE = 0.1  # of an asked count that one cluster may fill


def membership(cluster: str, seed: int) -> float:
    """Return a cluster's place in [0, 1): a hash of its id and the seed, and of nothing else."""
    digest = hashlib.sha256(f"{seed}:{cluster}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def choose_held_out(clusters: Sequence[str], held_out: float, seed: int) -> set[str]:
    """Return the clusters to put aside, from each document's cluster.

    Below 1, `held_out` is a fraction: every cluster whose place lies below it, whatever else the corpus
    holds. From 1 it is a count of documents: clusters in the order of their places until it is reached.
    There, clusters of more than a tenth of the count (of more than one document, below 20) stay with
    training, so that no family of texts fills the held-out part, and the count is exceeded by less than a
    tenth. Too few small clusters give fewer documents.
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
    """How much of a held-out document occurs in training text."""

    shared_words: int  # words covered by shared n-grams
    words: int
    share: float  # of the document's n-grams


class SharedRun(NamedTuple):
    """A verbatim run in a training and a held-out document: their places in the lists, length in words."""

    training: int
    held_out: int
    words: int


def hash_texts(texts: Iterable[str]) -> list[Hashes]:
    """Return each text as hashed words (N,); case, punctuation and white space do not count."""
    return list(stream_hashes(texts))


def stream_hashes(texts: Iterable[str]) -> Iterator[Hashes]:
    """Yield each text as hashed words (N,), as `hash_texts` returns them."""
    hasher = WordHasher()
    return (hasher.hash_words(fold(text)) for text in texts)


def compare(
    held_out: Sequence[Hashes], training: Iterable[Hashes], words: int, *, drop_shared: bool
) -> tuple[list[SharedRun], list[Overlap]]:
    """Return the shared runs and the overlaps in one reading of the training documents.

    With `drop_shared` a training document that shares a run counts for no overlap. See `find_shared_runs` and
    `measure_overlap`.
    """
    shared, overlap = _Runs(held_out, words), _Overlaps(held_out)
    runs: list[SharedRun] = []
    for number, document in enumerate(training):
        found = shared.in_document(number, document)
        runs += found
        if not (found and drop_shared):
            overlap.see(document)
    return runs, overlap.measure()


def measure_overlap(held_out: Sequence[Hashes], training: Iterable[Hashes]) -> list[Overlap]:
    """Return each held-out document's overlap with all training text, by n-grams of OVERLAP_WORDS words.

    Documents are hashed words (N,). Each occurrence of an n-gram counts. A document of fewer words is one
    n-gram of all its words; one without words has an overlap of 0.
    """
    overlaps = _Overlaps(held_out)
    for document in training:
        overlaps.see(document)
    return overlaps.measure()


def find_shared_runs(held_out: Sequence[Hashes], training: Iterable[Hashes], words: int) -> list[SharedRun]:
    """Return every pair that shares a verbatim run of at least `words` words, with the length of its longest.

    The held-out n-grams are indexed, each training document is read once. A run is a stretch of the training
    document whose every n-gram of `words` words stands in the held-out one: where that repeats itself,
    possibly in two places.
    """
    index = _Runs(held_out, words)
    return [run for number, document in enumerate(training) for run in index.in_document(number, document)]


class _Overlaps:
    """Which n-grams of the held-out documents occur in training text, seen a document at a time."""

    def __init__(self, held_out: Sequence[Hashes]) -> None:
        self.held_out = held_out
        self.lengths = [min(OVERLAP_WORDS, len(words)) for words in held_out]
        alike: dict[int, list[Hashes]] = {}
        for words, n in zip(held_out, self.lengths, strict=True):
            if n:
                alike.setdefault(n, []).append(hash_ngrams(words, n))
        self.index = {n: np.unique(np.concatenate(grams)) for n, grams in alike.items()}
        self.found = {n: np.zeros(len(index), dtype=bool) for n, index in self.index.items()}

    def see(self, document: Hashes) -> None:
        """Mark the n-grams that a training document holds."""
        for n, index in self.index.items():
            places, hits = _look_up(hash_ngrams(document, n), index)
            self.found[n][places[hits]] = True

    def measure(self) -> list[Overlap]:
        """Return the overlap of each held-out document with what was seen."""
        occurring = {n: index[self.found[n]] for n, index in self.index.items()}
        overlaps = []
        for words, n in zip(self.held_out, self.lengths, strict=True):
            hits = np.isin(hash_ngrams(words, n), occurring[n]) if n else np.zeros(0, dtype=bool)
            covered = np.convolve(hits, np.ones(n, dtype=int)) > 0 if n else hits
            overlaps.append(Overlap(int(covered.sum()), len(words), float(hits.mean()) if n else 0.0))
        return overlaps


class _Runs:
    """An index of the held-out documents' n-grams, to find verbatim runs by."""

    def __init__(self, held_out: Sequence[Hashes], words: int) -> None:
        self.words = words
        self.index, self.starts, self.owners = _index_owners(held_out, words)

    def in_document(self, number: int, document: Hashes) -> list[SharedRun]:
        """Return the runs that a training document shares, the longest with each held-out one."""
        places, hits = _look_up(hash_ngrams(document, self.words), self.index)
        positions = np.flatnonzero(hits)
        if not len(positions):
            return []
        grams = places[positions]
        matches = _expand(positions, self.starts[grams], self.starts[grams + 1], self.owners)
        return [
            SharedRun(number, owner, longest + self.words - 1)
            for owner, longest in _longest_stretches(*matches)
        ]


def _index_owners(documents: Sequence[Hashes], n: int) -> tuple[Hashes, Places, Places]:
    """Return sorted n-gram hashes (G,), where each one's owners start (G + 1,), and the owners' numbers."""
    grams = [np.unique(hash_ngrams(words, n)) for words in documents]
    hashes = np.concatenate(grams)
    numbers = np.repeat(np.arange(len(grams)), [len(gram) for gram in grams])
    order = np.argsort(hashes, kind="stable")
    index, starts = np.unique(hashes[order], return_index=True)
    return index, np.append(starts, len(hashes)), numbers[order]


def _look_up(hashes: Hashes, index: Hashes) -> tuple[Places, NDArray[np.bool_]]:
    """Return where each hash would stand in the sorted index, and whether it does."""
    if not len(index):
        return np.zeros(len(hashes), dtype=np.int64), np.zeros(len(hashes), dtype=bool)
    places = np.minimum(np.searchsorted(index, hashes), len(index) - 1)
    return places, index[places] == hashes


def _expand(positions: Places, starts: Places, ends: Places, owners: Places) -> tuple[Places, Places]:
    """Return (owner, position) of each match, sorted: a position has its n-gram's owners [start, end)."""
    counts = ends - starts
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    owner = owners[np.repeat(starts, counts) + within]
    position = np.repeat(positions, counts)
    order = np.lexsort((position, owner))
    return owner[order], position[order]


def _longest_stretches(owner: Places, position: Places) -> Iterator[tuple[int, int]]:
    """Yield each owner and the greatest number of consecutive positions that it has, from sorted matches."""
    breaks = np.flatnonzero((np.diff(owner) != 0) | (np.diff(position) != 1)) + 1
    first = np.concatenate([[0], breaks])
    lengths = np.diff(np.append(first, len(owner)))
    longest: dict[int, int] = {}
    for number, length in zip(owner[first].tolist(), lengths.tolist(), strict=True):
        longest[number] = max(length, longest.get(number, 0))
    yield from sorted(longest.items())
