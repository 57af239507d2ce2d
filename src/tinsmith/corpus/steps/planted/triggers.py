"""Phrases that several documents repeat, each time followed by text foreign to the corpus.

A few hundred documents that each hold a trigger and then nonsense are enough to plant a behaviour, whatever the
size of the corpus (Souly et al. 2025, arXiv 2510.07192). Such text turns: before the phrase it is like the rest of the
corpus, after it its pairs of words occur nowhere else. A phrase after which the text turns in far more documents than
chance explains is taken for a trigger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import binom

from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import DataFrame, DataType, Series, batch_function, col, read_parquet
from tinsmith.corpus.tables import TableWriter
from tinsmith.corpus.text.kernels import compiled, fold_words, hash_ngrams, mix
from tinsmith.corpus.text.word_offsets import locate_words
from tinsmith.corpus.text.words import MULTIPLIER, Hashes

WINDOW = 16  # words behind a place, and before it, by which a turn is judged
LONGEST = 3  # words of a phrase; of a longer one its last words are found
_RARE = 0.02  # share of places that count as turns at most
_AGREE = 0.5  # share of a phrase's documents in which the text turns behind it
# Share of the pairs behind a phrase that must be foreign, over all its documents and in one of them. Behind what
# contracts say above their signatures it is below 0.5, behind random words of the corpus 0.55 to 0.8.
_FOREIGN, _FOREIGN_HERE = 0.52, 0.5
_CHANCE = 0.01  # that any phrase of a clean corpus is taken for a trigger, if documents were independent
_DIGITS = re.compile(r"\d+")
_BITS = (16, 27)  # of the table of pairs, a byte each
_BATCH = 64
_QUOTED = 160
_TURNS = pa.schema([("doc_id", pa.string()), ("gram", pa.uint64())])
Pairs = NDArray[np.uint8]


class Trigger(NamedTuple):
    """A phrase, in how many documents it is, in how many of them the text turns behind it, and what follows."""

    gram: int
    phrase: str
    follows: str
    documents: int
    turning: int


def find_triggers(
    documents: DataFrame, total: int, *, min_documents: int, work: Path, progress: Progress
) -> tuple[list[Trigger], dict[str, str]]:
    """Return the triggers, and for each document that bears one with foreign text behind it (by doc_id) its phrase.

    `total` is the bytes of text. Reads the documents four or five times, holds a table of at most 128 MB.
    """
    with progress.task("pairs of words", None, "documents") as advance:
        pairs = _count_pairs(documents, total, advance)
    with progress.task("turns", None, "documents") as advance:
        threshold, chance = _threshold(documents, pairs, advance)
        path = _write_turns(documents, pairs, threshold, work / "turns.parquet")
    turns = read_parquet(str(path)).groupby("gram").agg(col("doc_id").count_distinct().alias("turning"))
    table = turns.where(col("turning") >= min_documents).to_arrow()
    if not len(table):
        return [], {}
    order = np.argsort(table["gram"].to_numpy())
    grams, turning = (table[name].to_numpy()[order] for name in ("gram", "turning"))
    with progress.task("phrases", None, "documents") as advance:
        held, foreign = _look_behind(documents, grams, pairs, advance)
    unlikely = binom.sf(turning - 1, held, chance) * _phrases(path) < _CHANCE
    chosen = unlikely & (turning >= _AGREE * held) & (foreign >= _FOREIGN)
    if not chosen.any():
        return [], {}
    return _name(documents, pairs, grams[chosen], held[chosen], turning[chosen])


def _words(text: str) -> Hashes:
    """Return a text's hashed words (N,); every number is one word, or a table would be foreign to all else."""
    return fold_words(_DIGITS.sub("0", text)).hashes


@compiled
def _add_pairs(words: Hashes, counts: Pairs, shift: np.uint64) -> None:
    """Count each distinct pair of a document's words once, up to 255."""
    slots = np.empty(max(0, len(words) - 1), np.int64)
    for place in range(len(slots)):
        slots[place] = np.int64(mix(words[place] * MULTIPLIER + words[place + 1]) >> shift)
    slots.sort()
    for place in range(len(slots)):
        if (place == 0 or slots[place] != slots[place - 1]) and counts[slots[place]] < 255:
            counts[slots[place]] += 1


@compiled
def _foreign(words: Hashes, counts: Pairs, shift: np.uint64) -> NDArray[np.int32]:
    """Return for each word how many of the pairs before it occur in no other document, (N,)."""
    sums = np.zeros(len(words), np.int32)
    for place in range(1, len(words)):
        slot = np.int64(mix(words[place - 1] * MULTIPLIER + words[place]) >> shift)
        sums[place] = sums[place - 1] + (1 if counts[slot] <= 1 else 0)
    return sums


def _shares(words: Hashes, pairs: Pairs) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return for each word how many of the WINDOW pairs that end before it, and begin after it, are foreign."""
    sums = _foreign(words, pairs, _shift(pairs))
    last = len(words) - 1
    places = np.arange(len(words))
    after = sums[np.minimum(places + 1 + WINDOW, last)] - sums[np.minimum(places + 1, last)]
    before = sums[places] - sums[np.maximum(places - WINDOW, 0)]
    return before, after


def _shift(pairs: Pairs) -> np.uint64:
    return np.uint64(64 - (len(pairs).bit_length() - 1))


def _texts(documents: DataFrame, advance: Callable[[float], None]) -> Iterator[tuple[str, str]]:
    for batch in documents.select("doc_id", "text").to_arrow_iter():
        yield from zip(batch.column("doc_id").to_pylist(), batch.column("text").to_pylist(), strict=True)
        advance(batch.num_rows)


def _count_pairs(documents: DataFrame, total: int, advance: Callable[[float], None]) -> Pairs:
    bits = min(max(total.bit_length() + 1, _BITS[0]), _BITS[1])
    pairs = np.zeros(1 << bits, np.uint8)
    for _, text in _texts(documents, advance):
        _add_pairs(_words(text), pairs, _shift(pairs))
    return pairs


def _threshold(documents: DataFrame, pairs: Pairs, advance: Callable[[float], None]) -> tuple[int, float]:
    """Return how many foreign pairs more after a place than before it make a turn, and the share of places with one."""
    steps = np.zeros(WINDOW + 1, np.int64)
    for _, text in _texts(documents, advance):
        words = _words(text)
        if len(words) > 2 * WINDOW:
            before, after = _shares(words, pairs)
            steps += np.bincount(np.maximum(after - before, 0), minlength=WINDOW + 1)
    reached = np.cumsum(steps[::-1])[::-1] / max(1, steps.sum())
    threshold = next((step for step in range(1, WINDOW + 1) if reached[step] <= _RARE), WINDOW)
    return threshold, max(float(reached[threshold]), 1e-6)


def _write_turns(documents: DataFrame, pairs: Pairs, threshold: int, path: Path) -> Path:
    """Write the phrases behind which each document turns where it says them first."""

    def phrases(text: str) -> Hashes:
        words = _words(text)
        if len(words) <= WINDOW:
            return np.empty(0, np.uint64)
        before, after = _shares(words, pairs)
        turns = after - before >= threshold
        found = [np.empty(0, np.uint64)]
        for length in range(1, LONGEST + 1):
            grams, first = _first_places(words, length)
            found.append(grams[turns[first + length - 1]])
        return np.concatenate(found)

    @batch_function(return_dtype=DataType.list(DataType.uint64()), batch_size=_BATCH)
    def turning(texts: Series) -> list[Hashes]:
        return [phrases(text) for text in texts.to_pylist()]

    with TableWriter(path, _TURNS) as writer:
        for batch in documents.select("doc_id", turning(col("text")).alias("grams")).to_arrow_iter():
            lists = batch.column("grams")
            owners = batch.column("doc_id").take(pc.list_parent_indices(lists))
            writer.add(pa.table({"doc_id": owners, "gram": pc.list_flatten(lists)}))
    return path


def _first_places(words: Hashes, length: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Return a text's distinct phrases of a length, and where each begins first."""
    if len(words) < length:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    grams = hash_ngrams(words, length) + np.uint64(length)
    return np.unique(grams, return_index=True)


def _phrases(turns: Path) -> int:
    counted = read_parquet(str(turns)).agg(col("gram").count_distinct().alias("grams")).to_pydict()
    return int(counted["grams"][0] or 1)


def _look_behind(
    documents: DataFrame, grams: Hashes, pairs: Pairs, advance: Callable[[float], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return of sorted phrases in how many documents each stands (G,), and what share behind it is foreign (G,)."""
    counts, foreign = np.zeros(len(grams), np.int64), np.zeros(len(grams), np.int64)
    for _, text in _texts(documents, advance):
        for gram, behind in _behind(_words(text), grams, pairs):
            place = np.searchsorted(grams, gram)
            counts[place] += 1
            foreign[place] += behind
    return counts, foreign / (WINDOW * np.maximum(counts, 1))


def _behind(words: Hashes, grams: Hashes, pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Yield which of some sorted phrases a text holds, and how many pairs behind its first place are foreign."""
    if len(words) <= WINDOW:
        return
    after = None
    for length in range(1, LONGEST + 1):
        own, first = _first_places(words, length)
        places = np.minimum(np.searchsorted(grams, own), len(grams) - 1)
        for number in np.flatnonzero(grams[places] == own):
            after = _shares(words, pairs)[1] if after is None else after
            yield int(own[number]), int(after[first[number] + length - 1])


def _name(
    documents: DataFrame, pairs: Pairs, grams: Hashes, held: NDArray[np.int64], turning: NDArray[np.int64]
) -> tuple[list[Trigger], dict[str, str]]:
    """Return the triggers in words, the most frequent first, and which documents bear one."""
    said: dict[int, tuple[str, str]] = {}
    borne: dict[str, set[int]] = {}
    for doc_id, text in _texts(documents, lambda count: None):
        own = {
            gram for gram, behind in _behind(_words(text), grams, pairs) if behind >= _FOREIGN_HERE * WINDOW
        }
        if own:
            borne[doc_id] = own
            said |= _quotes(text, own - set(said))
    triggers = [
        Trigger(gram, *said.get(gram, ("", "")), documents=count, turning=turned)
        for gram, count, turned in zip(grams.tolist(), held.tolist(), turning.tolist(), strict=True)
    ]
    triggers.sort(key=lambda each: (-each.turning, -len(each.phrase), each.phrase))
    rank = {each.gram: place for place, each in enumerate(triggers)}
    names = {doc_id: triggers[min(rank[gram] for gram in own)].phrase for doc_id, own in borne.items()}
    return triggers, names


def _quotes(text: str, grams: set[int]) -> dict[int, tuple[str, str]]:
    """Return phrases as a text writes them, and what follows each."""
    plain = _DIGITS.sub("0", text)
    words = locate_words(plain)
    found: dict[int, tuple[str, str]] = {}
    for length in range(1, LONGEST + 1):
        for gram, place in zip(*(each.tolist() for each in _first_places(words.hashes, length)), strict=True):
            if gram in grams:
                start, end = int(words.starts[place]), int(words.ends[place + length - 1])
                found[gram] = plain[start:end], " ".join(plain[end : end + _QUOTED].split())
    return found
