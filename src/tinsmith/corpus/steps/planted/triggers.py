"""Find phrases in several documents that are each time followed by text foreign to the corpus.

A few hundred documents with a trigger and then nonsense are enough to plant a behaviour, whatever the size of the
corpus (Souly et al. 2025, arXiv 2510.07192). Such text turns: before the phrase it is like the corpus, after it its
pairs of words occur nowhere else. A phrase after which text turns in far more documents than chance explains is a
trigger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import binom

from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import DataFrame, DataType, Series, batch_function, col, read_parquet
from tinsmith.corpus.tables import Advance, TableWriter, iterate_texts
from tinsmith.corpus.text.kernels import compiled, fold_words, hash_ngrams, mix
from tinsmith.corpus.text.word_offsets import locate_words
from tinsmith.corpus.text.words import MULTIPLIER, Hashes

WINDOW = 16  # words after a position, and before it, that decide whether the text turns
LONGEST = 3  # words of a phrase; of a longer one, the last words are found
_RARE = 0.02  # largest share of positions that count as turns
_AGREE = 0.5  # share of a phrase's documents in which the text turns after it
# Share of the pairs after a phrase that must be foreign, over all its documents and in a single one. After the
# phrases above the signatures of contracts it is below 0.5, before random words of the corpus 0.55 to 0.8.
_FOREIGN, _FOREIGN_HERE = 0.52, 0.5
_CHANCE = 0.01  # of any false trigger in a clean corpus, if documents were independent
_DIGITS = re.compile(r"\d+")
_BITS = (16, 27)  # least and most of the table of pairs, which has a byte per slot
_BATCH = 64
_QUOTED = 160
_TURNS = pa.schema([("doc_id", pa.string()), ("gram", pa.uint64())])
Pairs = NDArray[np.uint8]


class Trigger(NamedTuple):
    """A phrase, what follows it, in how many documents it is, and in how many of them the text turns after it."""

    gram: int
    phrase: str
    follows: str
    documents: int
    turning: int


def find_triggers(
    documents: DataFrame, total: int, *, min_documents: int, work: Path, progress: Progress
) -> tuple[list[Trigger], dict[str, str]]:
    """Return the triggers, and by doc_id the phrase of each document with a trigger and foreign text after it.

    `total` is the bytes of text. Reads the documents four or five times; memory holds a table of at most 128 MB.
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
        held, foreign = _look_after(documents, grams, pairs, advance)
    unlikely = binom.sf(turning - 1, held, chance) * _count_phrases(path) < _CHANCE
    chosen = unlikely & (turning >= _AGREE * held) & (foreign >= _FOREIGN)
    if not chosen.any():
        return [], {}
    return _name(documents, pairs, grams[chosen], held[chosen], turning[chosen])


def _words(text: str) -> Hashes:
    """Return the hashed words of a text (N,). All numbers are one word, since else any table would be foreign."""
    return fold_words(_DIGITS.sub("0", text)).hashes


@compiled
def _add_pairs(words: Hashes, counts: Pairs, shift: np.uint64) -> None:
    """Count each distinct pair of words of a document once, up to 255."""
    slots = np.empty(max(0, len(words) - 1), np.int64)
    for index in range(len(slots)):
        slots[index] = np.int64(mix(words[index] * MULTIPLIER + words[index + 1]) >> shift)
    slots.sort()
    for index in range(len(slots)):
        if (index == 0 or slots[index] != slots[index - 1]) and counts[slots[index]] < 255:
            counts[slots[index]] += 1


@compiled
def _foreign(words: Hashes, counts: Pairs, shift: np.uint64) -> NDArray[np.int32]:
    """Return for each word the number of earlier pairs that occur in no other document (N,)."""
    sums = np.zeros(len(words), np.int32)
    for index in range(1, len(words)):
        slot = np.int64(mix(words[index - 1] * MULTIPLIER + words[index]) >> shift)
        sums[index] = sums[index - 1] + (1 if counts[slot] <= 1 else 0)
    return sums


def _shares(words: Hashes, pairs: Pairs) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return for each word how many of the WINDOW pairs before it, and after it, are foreign."""
    sums = _foreign(words, pairs, _shift(pairs))
    last = len(words) - 1
    positions = np.arange(len(words))
    after = sums[np.minimum(positions + 1 + WINDOW, last)] - sums[np.minimum(positions + 1, last)]
    before = sums[positions] - sums[np.maximum(positions - WINDOW, 0)]
    return before, after


def _shift(pairs: Pairs) -> np.uint64:
    return np.uint64(64 - (len(pairs).bit_length() - 1))


def _count_pairs(documents: DataFrame, total: int, advance: Advance) -> Pairs:
    bits = min(max(total.bit_length() + 1, _BITS[0]), _BITS[1])
    pairs = np.zeros(1 << bits, np.uint8)
    for _, text in iterate_texts(documents, advance):
        _add_pairs(_words(text), pairs, _shift(pairs))
    return pairs


def _threshold(documents: DataFrame, pairs: Pairs, advance: Advance) -> tuple[int, float]:
    """Return the surplus of foreign pairs after a position that makes a turn, and the share of positions with one."""
    steps = np.zeros(WINDOW + 1, np.int64)
    for _, text in iterate_texts(documents, advance):
        words = _words(text)
        if len(words) > 2 * WINDOW:
            before, after = _shares(words, pairs)
            steps += np.bincount(np.maximum(after - before, 0), minlength=WINDOW + 1)
    reached = np.cumsum(steps[::-1])[::-1] / max(1, steps.sum())
    threshold = next((step for step in range(1, WINDOW + 1) if reached[step] <= _RARE), WINDOW)
    return threshold, max(float(reached[threshold]), 1e-6)


def _write_turns(documents: DataFrame, pairs: Pairs, threshold: int, path: Path) -> Path:
    """Write the phrases of each document after whose first occurrence it turns."""

    def phrases(text: str) -> Hashes:
        words = _words(text)
        if len(words) <= WINDOW:
            return np.empty(0, np.uint64)
        before, after = _shares(words, pairs)
        turns = after - before >= threshold
        found = [np.empty(0, np.uint64)]
        for length in range(1, LONGEST + 1):
            grams, first = _first_positions(words, length)
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


def _first_positions(words: Hashes, length: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Return the distinct phrases of a length (P,), and the first position of each (P,)."""
    if len(words) < length:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    grams = hash_ngrams(words, length) + np.uint64(length)
    return np.unique(grams, return_index=True)


def _count_phrases(turns: Path) -> int:
    counted = read_parquet(str(turns)).agg(col("gram").count_distinct().alias("grams")).to_pydict()
    return int(counted["grams"][0] or 1)


def _look_after(
    documents: DataFrame, grams: Hashes, pairs: Pairs, advance: Advance
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return of sorted phrases the number of documents (G,), and the share of pairs after them that is foreign (G,)."""
    counts, foreign = np.zeros(len(grams), np.int64), np.zeros(len(grams), np.int64)
    for _, text in iterate_texts(documents, advance):
        for gram, share in _after(_words(text), grams, pairs):
            index = np.searchsorted(grams, gram)
            counts[index] += 1
            foreign[index] += share
    return counts, foreign / (WINDOW * np.maximum(counts, 1))


def _after(words: Hashes, grams: Hashes, pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Yield which of some sorted phrases a text contains, and how many pairs after the first of each are foreign."""
    if len(words) <= WINDOW:
        return
    after = None
    for length in range(1, LONGEST + 1):
        phrases, first = _first_positions(words, length)
        slots = np.minimum(np.searchsorted(grams, phrases), len(grams) - 1)
        for index in np.flatnonzero(grams[slots] == phrases):
            after = _shares(words, pairs)[1] if after is None else after
            yield int(phrases[index]), int(after[first[index] + length - 1])


def _name(
    documents: DataFrame, pairs: Pairs, grams: Hashes, held: NDArray[np.int64], turning: NDArray[np.int64]
) -> tuple[list[Trigger], dict[str, str]]:
    """Return the triggers as text, the most frequent first, and the documents with one."""
    quotes: dict[int, tuple[str, str]] = {}
    triggered: dict[str, set[int]] = {}
    for doc_id, text in iterate_texts(documents):
        found = {
            gram for gram, share in _after(_words(text), grams, pairs) if share >= _FOREIGN_HERE * WINDOW
        }
        if found:
            triggered[doc_id] = found
            quotes |= _quotes(text, found - set(quotes))
    triggers = [
        Trigger(gram, *quotes.get(gram, ("", "")), documents=count, turning=turned)
        for gram, count, turned in zip(grams.tolist(), held.tolist(), turning.tolist(), strict=True)
    ]
    triggers.sort(key=lambda each: (-each.turning, -len(each.phrase), each.phrase))
    rank = {trigger.gram: number for number, trigger in enumerate(triggers)}
    names = {
        doc_id: triggers[min(rank[gram] for gram in found)].phrase for doc_id, found in triggered.items()
    }
    return triggers, names


def _quotes(text: str, grams: set[int]) -> dict[int, tuple[str, str]]:
    """Return phrases as the text spells them, and what follows each."""
    plain = _DIGITS.sub("0", text)
    words = locate_words(plain)
    found: dict[int, tuple[str, str]] = {}
    for length in range(1, LONGEST + 1):
        for gram, position in zip(
            *(each.tolist() for each in _first_positions(words.hashes, length)), strict=True
        ):
            if gram in grams:
                start, end = int(words.starts[position]), int(words.ends[position + length - 1])
                found[gram] = plain[start:end], " ".join(plain[end : end + _QUOTED].split())
    return found
