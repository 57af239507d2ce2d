"""Read a text once: its tokens, lines and paragraphs as hashes and sizes, and what is counted on the way.

A token is a word or a mark. Words are cut as spaCy's English rules do it, as far as they look at characters
and not at lists: "don't" is two, "well-known" three, "3.5", "U.S." and "10-K" one each; a run of one mark is one.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.filters.characters import (
    ALPHANUMERIC,
    BRACKET,
    BULLET,
    DASH,
    IDEOGRAPH,
    IN_WORD,
    LETTER,
    SPACE,
    TERMINAL,
    UNSPACED,
    UPPER,
    Kinds,
    kinds,
)
from tinsmith.corpus.text.kernels import FNV_START, FNV_STEP, Codes, codes, compiled, mix
from tinsmith.corpus.text.words import MULTIPLIER, Hashes

Sizes = NDArray[np.int32]
# Places in the array of counts.
SPOKEN, SPACED, SPACED_CHARACTERS, LETTERED, HASH_SIGNS, ELLIPSES = range(6)
BULLETS, ELLIPSIS_LINES, PUNCTUATED_LINES, BREAKS, STOP_WORDS, COUNTS = range(6, 12)
_ENGLISH = ("the", "be", "to", "of", "and", "that", "have", "with")
_NEWLINE, _FULL_STOP, _COMMA, _ELLIPSIS, _HASH_SIGN = 0x0A, 0x2E, 0x2C, 0x2026, 0x23
_LEFT_OF_LETTERS = (0x3A, 0x3C, 0x3E, 0x3D, 0x2F)  # : < > = / cut where a letter follows
_APOSTROPHES = (0x27, 0x2019)


class Scan(NamedTuple):
    """What the rules look at. Sizes are characters, from the first to the last that is no space."""

    tokens: Hashes
    token_sizes: Sizes
    lines: Hashes  # blank ones left out
    line_sizes: Sizes
    paragraphs: Hashes  # parted by blank lines
    paragraph_sizes: Sizes
    counts: NDArray[np.int64]
    characters: int


def scan(text: str) -> Scan:
    """Read a text in one pass."""
    characters = codes(text)
    breaks = text.count("\n")
    return Scan(*_scan(characters, kinds(), breaks, _stop_words()), len(text))


@cache
def _stop_words() -> Hashes:
    return np.array([_read_token(codes(word), kinds(), 0)[1] for word in _ENGLISH], dtype=np.uint64)


@compiled
def _joins(characters: Codes, kinds: Kinds, place: int) -> bool:
    """Return whether a mark amid a word belongs to the word."""
    code, before = characters[place], kinds[characters[place - 1]]
    after = kinds[characters[place + 1]] if place + 1 < len(characters) else np.uint16(SPACE)
    if not after & ALPHANUMERIC:  # the full stop of an initial stays with it
        return (
            code == _FULL_STOP
            and (before & UPPER) != 0
            and (place < 2 or not kinds[characters[place - 2]] & LETTER)
        )
    letters = (before & after & LETTER) != 0
    if code == _FULL_STOP:
        return not letters or (before & UPPER) != 0 or not after & UPPER
    if kinds[code] & DASH:
        return not letters and (before | after) & LETTER != 0
    if code == _COMMA or kinds[code] & BRACKET:
        return not letters
    if code in _LEFT_OF_LETTERS:
        return not after & LETTER
    return code != _HASH_SIGN and code != _ELLIPSIS


@compiled
def _read_token(characters: Codes, kinds: Kinds, place: int) -> tuple[int, np.uint64, np.uint16]:
    """Return where the token that starts at a place ends, its hash, and the flags of its characters together."""
    length, code = len(characters), characters[place]
    seen, end = kinds[code], place + 1
    number = (FNV_START ^ np.uint64(code)) * FNV_STEP
    if seen & UNSPACED:
        script, longest = seen & UNSPACED, place + (2 if seen & IDEOGRAPH else 4)
        while end < length and end < longest and kinds[characters[end]] & script:
            number = (number ^ np.uint64(characters[end])) * FNV_STEP
            end += 1
        return end, mix(number), seen
    # What follows the apostrophe in "it's" is a token with it.
    ending = code in _APOSTROPHES and place > 0 and end < length
    ending = ending and (kinds[characters[place - 1]] & kinds[characters[end]] & LETTER) != 0
    if not seen & IN_WORD and not ending:
        while end < length and characters[end] == code:
            number = (number ^ np.uint64(code)) * FNV_STEP
            end += 1
        return end, mix(number), seen
    while end < length:
        kind = kinds[characters[end]]
        if kind & (SPACE | UNSPACED) or (not kind & IN_WORD and not _joins(characters, kinds, end)):
            break
        number = (number ^ np.uint64(characters[end])) * FNV_STEP
        seen |= kind
        end += 1
    return end, mix(number), seen


@compiled
def _count_token(
    code: int, size: int, number: np.uint64, seen: np.uint16, counts: NDArray[np.int64], stop_words: Hashes
) -> None:
    """Add one token to the counts."""
    if seen & ALPHANUMERIC:
        counts[SPOKEN] += 1
        if not seen & UNSPACED:
            counts[SPACED] += 1
            counts[SPACED_CHARACTERS] += size
        if seen & LETTER:
            counts[LETTERED] += 1
        if size >= 2 and size <= 4:
            for place in range(len(stop_words)):
                if stop_words[place] == number:
                    counts[STOP_WORDS] |= 1 << place
    elif code == _HASH_SIGN:
        counts[HASH_SIGNS] += size
    elif code == _ELLIPSIS:
        counts[ELLIPSES] += size
    elif code == _FULL_STOP:
        counts[ELLIPSES] += size // 3


@compiled
def _count_line(first: int, last: int, last_size: int, kinds: Kinds, counts: NDArray[np.int64]) -> None:
    """Add one line, of which the first and the last character and the size of the last token are known."""
    if kinds[first] & BULLET:
        counts[BULLETS] += 1
    if last == _ELLIPSIS or (last == _FULL_STOP and last_size >= 3):
        counts[ELLIPSIS_LINES] += 1
    if kinds[last] & TERMINAL:
        counts[PUNCTUATED_LINES] += 1


@compiled
def _scan(
    characters: Codes, kinds: Kinds, breaks: int, stop_words: Hashes
) -> tuple[Hashes, Sizes, Hashes, Sizes, Hashes, Sizes, NDArray[np.int64]]:
    length = len(characters)
    tokens, token_sizes = np.empty(length, np.uint64), np.empty(length, np.int32)
    lines, line_sizes = np.empty(breaks + 1, np.uint64), np.empty(breaks + 1, np.int32)
    paragraphs, paragraph_sizes = np.empty(breaks + 1, np.uint64), np.empty(breaks + 1, np.int32)
    counts = np.zeros(COUNTS, np.int64)
    token, line, paragraph = 0, 0, 0
    line_start, paragraph_start, last_end, last_size = -1, -1, 0, 0
    line_hash, paragraph_hash = np.uint64(0), np.uint64(0)
    place = 0
    while place <= length:
        at_end = place == length
        if not at_end and not kinds[characters[place]] & SPACE:
            end, number, seen = _read_token(characters, kinds, place)
            _count_token(characters[place], end - place, number, seen, counts, stop_words)
            tokens[token], token_sizes[token] = number, end - place
            token += 1
            if line_start < 0:
                line_start = place
            if paragraph_start < 0:
                paragraph_start = place
            line_hash = line_hash * MULTIPLIER + number
            paragraph_hash = paragraph_hash * MULTIPLIER + number
            last_end, last_size, place = end, end - place, end
            continue
        if at_end or characters[place] == _NEWLINE:
            blank = line_start < 0
            if not blank:
                _count_line(characters[line_start], characters[last_end - 1], last_size, kinds, counts)
                lines[line], line_sizes[line] = line_hash, last_end - line_start
                line += 1
                line_start, line_hash = -1, np.uint64(0)
            if (blank or at_end) and paragraph_start >= 0:
                paragraphs[paragraph], paragraph_sizes[paragraph] = paragraph_hash, last_end - paragraph_start
                paragraph += 1
                paragraph_start, paragraph_hash = -1, np.uint64(0)
        place += 1
    counts[BREAKS] = breaks
    return (
        tokens[:token],
        token_sizes[:token],
        lines[:line],
        line_sizes[:line],
        paragraphs[:paragraph],
        paragraph_sizes[:paragraph],
        counts,
    )
