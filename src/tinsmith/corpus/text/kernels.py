"""Loops over the characters of a text, compiled: no Python object per word, and the lock is free meanwhile.

Compiled on first use, then kept beside this file, or under the user's cache directory where the installation is
read-only (numba's own rule; NUMBA_CACHE_DIR overrides both).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tinsmith.corpus.text.words import MULTIPLIER, Hashes

Codes = NDArray[np.uint8] | NDArray[np.uint32]
Function = TypeVar("Function", bound=Callable[..., Any])
FNV_START, FNV_STEP = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


class Words(NamedTuple):
    """A text's folded words (N,): their hashes, and where each starts and ends.

    Places count characters of the folded text, which for ASCII are those of the text itself.
    """

    hashes: Hashes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def compiled(function: Function) -> Function:
    """Compile a function at its first call for the types that it is called with, without Python's lock."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no place to keep the result may be written to
        return njit(nogil=True)(function)


def codes(text: str) -> Codes:
    """Return the characters of a text as numbers (N,): bytes where all are ASCII, else code points."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def fold_words(text: str) -> Words:
    """Return the hashes and places of the words that `corpus.text.fold` finds, equal words with equal hashes."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
    return fold_codes(codes(text))


def fold_codes(characters: Codes) -> Words:
    """Return what fold_words does, for characters of which only A to Z may be upper case."""
    return Words(*_fold_words(characters, alphanumeric()))


@cache
def alphanumeric() -> NDArray[np.bool_]:
    """Return for each code point whether it is a letter or digit to `str.isalnum`, (1114112,)."""
    # numpy asks Python's own tables, a hundred times as fast as a loop over chr().
    return np.strings.isalnum(np.arange(0x110000, dtype=np.uint32).view("U1"))


@compiled
def mix(number: np.uint64) -> np.uint64:
    """Spread the bits of a hash over all 64 (the finaliser of MurmurHash3)."""
    number = (number ^ (number >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    number = (number ^ (number >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return number ^ (number >> np.uint64(33))


@compiled
def _fold_words(
    characters: Codes, word_character: NDArray[np.bool_]
) -> tuple[Hashes, NDArray[np.int64], NDArray[np.int64]]:
    length = len(characters)
    hashes = np.empty(length // 2 + 1, np.uint64)
    starts = np.empty(length // 2 + 1, np.int64)
    ends = np.empty(length // 2 + 1, np.int64)
    count, place = 0, 0
    while place < length:
        if not word_character[characters[place]]:
            place += 1
            continue
        starts[count] = place
        number = FNV_START
        while place < length and word_character[characters[place]]:
            code = np.uint64(characters[place])
            if code >= 65 and code <= 90:  # A to Z; other letters come folded
                code += np.uint64(32)
            number = (number ^ code) * FNV_STEP
            place += 1
        hashes[count], ends[count] = mix(number), place
        count += 1
    return hashes[:count].copy(), starts[:count].copy(), ends[:count].copy()


@compiled
def survey(characters: Codes, classes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], bool, bool]:
    """Return the characters of a text that are of no class (K,), and whether 2 occurs, and whether 2 follows 1.

    `classes` gives the class of each character below 65,536, 0 for none; those above have none.
    """
    seen = np.zeros(len(classes) + 1, np.bool_)
    before, second, follows = np.uint8(0), False, False
    for code in characters:
        if code >= len(classes):
            seen[len(classes)] = True
            before = np.uint8(0)
            continue
        kind = classes[code]
        if kind == 0:
            seen[code] = True
        elif kind == 2:
            second = True
            follows |= before == 1
        before = kind
    return np.flatnonzero(seen), second, follows


@compiled
def hash_ngrams(words: Hashes, n: int) -> Hashes:
    """Return what `corpus.text.hash_ngrams` does, in one pass: a hash per run of n words, (N - n + 1,)."""
    count = max(0, len(words) - n + 1)
    hashes = np.empty(count, np.uint64)
    for first in range(count):
        number = np.uint64(0)
        for word in words[first : first + n]:
            number = number * MULTIPLIER + word
        hashes[first] = number
    return hashes
