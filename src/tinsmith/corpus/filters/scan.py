"""Scan a text once: its tokens, lines and paragraphs as hashes and sizes, and the counts that filters need.

A token is a word or a run of one mark. Words are cut by spaCy's English rules, without its lists of exceptions:
"don't" is two tokens, "well-known" three, "3.5", "U.S." and "10-K" one each.
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
    Flags,
    flags,
)
from tinsmith.corpus.text.kernels import FNV_START, FNV_STEP, Codes, codes, compiled, mix
from tinsmith.corpus.text.words import MULTIPLIER, Hashes

Sizes = NDArray[np.int32]
# Indices into the array of counts.
SPOKEN, SPACED, SPACED_CHARACTERS, LETTERED, HASH_SIGNS, ELLIPSES = range(6)
BULLETS, ELLIPSIS_LINES, PUNCTUATED_LINES, BREAKS, STOP_WORDS, COUNTS = range(6, 12)
_ENGLISH = ("the", "be", "to", "of", "and", "that", "have", "with")
_NEWLINE, _FULL_STOP, _COMMA, _ELLIPSIS, _HASH_SIGN = 0x0A, 0x2E, 0x2C, 0x2026, 0x23
_LEFT_OF_LETTERS = (0x3A, 0x3C, 0x3E, 0x3D, 0x2F)  # : < > = / cut where a letter follows
_APOSTROPHES = (0x27, 0x2019)


class ScannedText(NamedTuple):
    """A text and its scan. Sizes are in characters, without surrounding white space."""

    text: str
    language: str  # ISO 639 code, "und" or empty
    tokens: Hashes
    token_sizes: Sizes
    lines: Hashes  # without blank ones
    line_sizes: Sizes
    paragraphs: Hashes  # separated by blank lines
    paragraph_sizes: Sizes
    counts: NDArray[np.int64]  # (COUNTS,)


def scan_text(text: str, language: str = "") -> ScannedText:
    """Scan a text in one pass."""
    return ScannedText(text, language, *_scan(codes(text), flags(), text.count("\n"), _stop_words()))


@cache
def _stop_words() -> Hashes:
    return np.array([_read_token(codes(word), flags(), 0)[1] for word in _ENGLISH], dtype=np.uint64)


@compiled
def _joins(characters: Codes, flags: Flags, position: int) -> bool:
    """Return whether a mark inside a word belongs to the word."""
    code, before = characters[position], flags[characters[position - 1]]
    after = flags[characters[position + 1]] if position + 1 < len(characters) else np.uint16(SPACE)
    if not after & ALPHANUMERIC:  # keep the full stop of an initial
        return (
            code == _FULL_STOP
            and (before & UPPER) != 0
            and (position < 2 or not flags[characters[position - 2]] & LETTER)
        )
    letters = (before & after & LETTER) != 0
    if code == _FULL_STOP:
        return not letters or (before & UPPER) != 0 or not after & UPPER
    if flags[code] & DASH:
        return not letters and (before | after) & LETTER != 0
    if code == _COMMA or flags[code] & BRACKET:
        return not letters
    if code in _LEFT_OF_LETTERS:
        return not after & LETTER
    return code != _HASH_SIGN and code != _ELLIPSIS


@compiled
def _read_token(characters: Codes, flags: Flags, position: int) -> tuple[int, np.uint64, np.uint16]:
    """Return the end of the token that starts at a position, its hash, and the flags of its characters combined."""
    length, code = len(characters), characters[position]
    seen, end = flags[code], position + 1
    number = (FNV_START ^ np.uint64(code)) * FNV_STEP
    if seen & UNSPACED:
        script, longest = seen & UNSPACED, position + (2 if seen & IDEOGRAPH else 4)
        while end < length and end < longest and flags[characters[end]] & script:
            number = (number ^ np.uint64(characters[end])) * FNV_STEP
            end += 1
        return end, mix(number), seen
    # In "it's" the apostrophe and what follows are one token.
    ending = code in _APOSTROPHES and position > 0 and end < length
    ending = ending and (flags[characters[position - 1]] & flags[characters[end]] & LETTER) != 0
    if not seen & IN_WORD and not ending:
        while end < length and characters[end] == code:
            number = (number ^ np.uint64(code)) * FNV_STEP
            end += 1
        return end, mix(number), seen
    while end < length:
        kind = flags[characters[end]]
        if kind & (SPACE | UNSPACED) or (not kind & IN_WORD and not _joins(characters, flags, end)):
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
            for position in range(len(stop_words)):
                if stop_words[position] == number:
                    counts[STOP_WORDS] |= 1 << position
    elif code == _HASH_SIGN:
        counts[HASH_SIGNS] += size
    elif code == _ELLIPSIS:
        counts[ELLIPSES] += size
    elif code == _FULL_STOP:
        counts[ELLIPSES] += size // 3


@compiled
def _count_line(first: int, last: int, last_size: int, flags: Flags, counts: NDArray[np.int64]) -> None:
    """Add one line, given its first and last character and the size of its last token."""
    if flags[first] & BULLET:
        counts[BULLETS] += 1
    if last == _ELLIPSIS or (last == _FULL_STOP and last_size >= 3):
        counts[ELLIPSIS_LINES] += 1
    if flags[last] & TERMINAL:
        counts[PUNCTUATED_LINES] += 1


@compiled
def _scan(
    characters: Codes, flags: Flags, breaks: int, stop_words: Hashes
) -> tuple[Hashes, Sizes, Hashes, Sizes, Hashes, Sizes, NDArray[np.int64]]:
    length = len(characters)
    tokens, token_sizes = np.empty(length, np.uint64), np.empty(length, np.int32)
    lines, line_sizes = np.empty(breaks + 1, np.uint64), np.empty(breaks + 1, np.int32)
    paragraphs, paragraph_sizes = np.empty(breaks + 1, np.uint64), np.empty(breaks + 1, np.int32)
    counts = np.zeros(COUNTS, np.int64)
    token, line, paragraph = 0, 0, 0
    line_start, paragraph_start, last_end, last_size = -1, -1, 0, 0
    line_hash, paragraph_hash = np.uint64(0), np.uint64(0)
    position = 0
    while position <= length:
        at_end = position == length
        if not at_end and not flags[characters[position]] & SPACE:
            end, number, seen = _read_token(characters, flags, position)
            _count_token(characters[position], end - position, number, seen, counts, stop_words)
            tokens[token], token_sizes[token] = number, end - position
            token += 1
            if line_start < 0:
                line_start = position
            if paragraph_start < 0:
                paragraph_start = position
            line_hash = line_hash * MULTIPLIER + number
            paragraph_hash = paragraph_hash * MULTIPLIER + number
            last_end, last_size, position = end, end - position, end
            continue
        if at_end or characters[position] == _NEWLINE:
            blank = line_start < 0
            if not blank:
                _count_line(characters[line_start], characters[last_end - 1], last_size, flags, counts)
                lines[line], line_sizes[line] = line_hash, last_end - line_start
                line += 1
                line_start, line_hash = -1, np.uint64(0)
            if (blank or at_end) and paragraph_start >= 0:
                paragraphs[paragraph], paragraph_sizes[paragraph] = paragraph_hash, last_end - paragraph_start
                paragraph += 1
                paragraph_start, paragraph_hash = -1, np.uint64(0)
        position += 1
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
