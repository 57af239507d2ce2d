"""Words of a text for comparison: folded, and hashed alone or as n-grams."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_WORD = re.compile(r"[^\W_]+")
_REMEMBERED = 1_000_000  # words; a corpus of numbers and names has no end of them
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def lowered(text: str) -> str:
    """Return a text in lower case, letter for letter: places in it are places in the text."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def fold(text: str) -> list[str]:
    """Return a text's words for comparison: case, compatibility forms and punctuation do not count."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


class WordHasher(dict[str, int]):
    """Map words to 64-bit numbers that depend on the word alone, remembering a million of those already seen."""

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
    """Return a hash of each run of n words, (N - n + 1,), from hashes of words (N,); empty where N < n."""
    count = max(0, len(words) - n + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for k in range(n if count else 0):
        hashes = hashes * MULTIPLIER + words[k : k + count]
    return hashes
