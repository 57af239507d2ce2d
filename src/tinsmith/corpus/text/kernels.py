"""Compiled loops over the characters of a text, without a Python object per word and without Python's lock.

numba compiles them on first use and caches the result beside this file, or in the user's cache directory if the
installation is read-only. NUMBA_CACHE_DIR overrides both.
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
    """The folded words of a text (N,): their hashes, and the offsets at which each starts and ends.

    Offsets are those of the folded text, which for ASCII equal those of the text itself.
    """

    hashes: Hashes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def compiled(function: Function) -> Function:
    """Compile a function on its first call; it runs without Python's lock."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no writable cache directory
        return njit(nogil=True)(function)


def codes(text: str) -> Codes:
    """Return the code points of a text (N,), as bytes if all are ASCII."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def fold_words(text: str) -> Words:
    """Return the words that `words.fold` finds; equal words have equal hashes."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
    return fold_codes(codes(text))


def fold_codes(characters: Codes) -> Words:
    """Do the work of fold_words for characters of which only A to Z may be upper case."""
    return Words(*_fold_words(characters, alphanumeric()))


@cache
def alphanumeric() -> NDArray[np.bool_]:
    """Return for each code point whether `str.isalnum` holds, (1114112,)."""
    # numpy reads the same tables as str.isalnum, a hundred times faster than a loop over chr().
    return np.strings.isalnum(np.arange(0x110000, dtype=np.uint32).view("U1"))


@compiled
def mix(value: np.uint64) -> np.uint64:
    """Spread the bits of a hash over all 64 (the finaliser of MurmurHash3)."""
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@compiled
def _fold_words(
    characters: Codes, word_character: NDArray[np.bool_]
) -> tuple[Hashes, NDArray[np.int64], NDArray[np.int64]]:
    length = len(characters)
    hashes = np.empty(length // 2 + 1, np.uint64)
    starts = np.empty(length // 2 + 1, np.int64)
    ends = np.empty(length // 2 + 1, np.int64)
    count, position = 0, 0
    while position < length:
        if not word_character[characters[position]]:
            position += 1
            continue
        starts[count] = position
        value = FNV_START
        while position < length and word_character[characters[position]]:
            code = np.uint64(characters[position])
            if code >= 65 and code <= 90:  # A to Z; other letters are folded already
                code += np.uint64(32)
            value = (value ^ code) * FNV_STEP
            position += 1
        hashes[count], ends[count] = mix(value), position
        count += 1
    return hashes[:count].copy(), starts[:count].copy(), ends[:count].copy()


@compiled
def scan_classes(characters: Codes, classes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], bool, bool]:
    """Return the distinct characters of class 0 (K,), whether class 2 occurs, and whether it directly follows 1.

    `classes` gives the class of each code point below its length; those above have class 0 and are returned as one.
    """
    seen = np.zeros(len(classes) + 1, np.bool_)
    before, second, follows = np.uint8(0), False, False
    for code in characters:
        if code >= len(classes):
            seen[len(classes)] = True
            before = np.uint8(0)
            continue
        current = classes[code]
        if current == 0:
            seen[code] = True
        elif current == 2:
            second = True
            follows |= before == 1
        before = current
    return np.flatnonzero(seen), second, follows


@compiled
def hash_ngrams(words: Hashes, n: int) -> Hashes:
    """Hash each run of n words (N - n + 1,) in one pass; same result as `words.hash_ngrams`."""
    count = max(0, len(words) - n + 1)
    hashes = np.empty(count, np.uint64)
    for first in range(count):
        value = np.uint64(0)
        for word in words[first : first + n]:
            value = value * MULTIPLIER + word
        hashes[first] = value
    return hashes
