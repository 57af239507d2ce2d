"""Checks that a written item must pass before a model may learn from it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinsmith.corpus.dedup.signatures import jaccard
from tinsmith.corpus.engine import DataFrame
from tinsmith.corpus.text.kernels import fold_words, hash_ngrams
from tinsmith.corpus.text.words import Hashes, fold

MIN_QUOTE_WORDS = 4
AGREE = 0.5  # F1 of words from which two answers agree
SAME = 0.6  # Jaccard index of word triples from which two items count as the same
HELD_OUT_WORDS = 13


def quotes(quote: str, passage: str) -> bool:
    """Return whether the passage contains a quote of at least MIN_QUOTE_WORDS words, ignoring case and punctuation."""
    words = fold(quote)
    return len(words) >= MIN_QUOTE_WORDS and f" {' '.join(words)} " in f" {' '.join(fold(passage))} "


def agrees(answer: str, expected: str) -> bool:
    """Return whether two answers share enough words, by F1 of word counts."""
    given, wanted = fold(answer), fold(expected)
    if not given or not wanted or given[0] == "unknown":
        return False
    both = sum(min(given.count(word), wanted.count(word)) for word in set(given))
    return 2 * both / (len(given) + len(wanted)) >= AGREE


def says_yes(answer: str) -> bool:
    """Return whether an answer begins with yes."""
    return fold(answer)[:1] == ["yes"]


class SeenItems:
    """The word triples of the items kept so far."""

    def __init__(self) -> None:
        self.items: list[Hashes] = []

    def is_new(self, text: str) -> bool:
        """Return whether no kept item is nearly the same; if so, keep this one."""
        words = fold_words(text).hashes
        grams = np.unique(hash_ngrams(words, min(3, max(1, len(words)))))
        if any(jaccard(grams, other) >= SAME for other in self.items):
            return False
        self.items.append(grams)
        return True


def near_held_out(texts: Iterable[str], held_out: DataFrame) -> list[bool]:
    """Return for each text whether it shares a run of 13 words with a held-out document."""
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
