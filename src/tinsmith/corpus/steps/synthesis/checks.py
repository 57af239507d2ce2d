"""Whether a written item may be learnt from: each check takes out, and counts, what does not pass it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinsmith.corpus.dedup.signatures import jaccard
from tinsmith.corpus.engine import DataFrame
from tinsmith.corpus.text.kernels import fold_words, hash_ngrams
from tinsmith.corpus.text.words import Hashes, fold

MIN_QUOTE_WORDS = 4
AGREE = 0.5  # overlap of words, as F1, from which two answers say the same
SAME = 0.6  # Jaccard index of word triples from which two items are one
HELD_OUT_WORDS = 13


def quotes(quote: str, passage: str) -> bool:
    """Say whether a quote of some words stands in the passage, case and punctuation apart."""
    words = fold(quote)
    return len(words) >= MIN_QUOTE_WORDS and f" {' '.join(words)} " in f" {' '.join(fold(passage))} "


def agrees(answer: str, expected: str) -> bool:
    """Say whether two answers share enough words (F1, each word as often as both have it)."""
    mine, other = fold(answer), fold(expected)
    if not mine or not other or mine[0] == "unknown":
        return False
    both = sum(min(mine.count(word), other.count(word)) for word in set(mine))
    return 2 * both / (len(mine) + len(other)) >= AGREE


def says_yes(answer: str) -> bool:
    """Say whether an answer begins with yes."""
    return fold(answer)[:1] == ["yes"]


class Seen:
    """The items kept so far, by their triples of words."""

    def __init__(self) -> None:
        self.items: list[Hashes] = []

    def is_new(self, text: str) -> bool:
        """Say whether no item kept so far is nearly the same, and remember this one."""
        words = fold_words(text).hashes
        grams = np.unique(hash_ngrams(words, min(3, max(1, len(words)))))
        if any(jaccard(grams, other) >= SAME for other in self.items):
            return False
        self.items.append(grams)
        return True


def near_held_out(texts: Iterable[str], held_out: DataFrame) -> list[bool]:
    """Say of each text whether it shares a run of 13 words with a held-out document."""
    grams = [_grams(text) for text in texts]
    every = np.unique(np.concatenate([np.empty(0, np.uint64), *grams]))
    shared = np.zeros(len(every), np.bool_)
    for batch in held_out.select("text").to_arrow_iter():
        for text in batch.column("text"):
            shared |= np.isin(every, _grams(text.as_py() or ""))
    found = every[shared]
    return [bool(np.isin(each, found).any()) for each in grams]


def _grams(text: str) -> Hashes:
    return hash_ngrams(fold_words(text).hashes, HELD_OUT_WORDS)
