"""Fold the words of a text for comparison, and hash them alone or as n-grams."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_WORD = re.compile(r"[^\W_]+")
_REMEMBERED = 1_000_000  # words; a corpus has no end of numbers and names
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def lowered(text: str) -> str:
    """Return a text in lower case with the same length, so that offsets stay valid."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def fold(text: str) -> list[str]:
    """Return the words of a text without case, compatibility forms and punctuation."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


class WordHasher(dict[str, int]):
    """Map words to 64-bit hashes of the word alone; cache up to a million."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        number = int.from_bytes(
            hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
        )
        self[word] = number
        return number

    def hash_words(self, words: Sequence[str]) -> Hashes:
        """Return one hash per word (N,)."""
        return np.fromiter(map(self.__getitem__, words), dtype=np.uint64, count=len(words))


def hash_ngrams(words: Hashes, n: int) -> Hashes:
    """Hash each run of n words (N - n + 1,) from hashes of words (N,); empty if N < n."""
    count = max(0, len(words) - n + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for k in range(n if count else 0):
        hashes = hashes * MULTIPLIER + words[k : k + count]
    return hashes
