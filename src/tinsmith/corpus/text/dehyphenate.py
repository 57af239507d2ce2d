"""Join words that typesetting broke: "Wash ington", or "exami-" at the end of a line.

A break is joined only if the same document has the whole word elsewhere. Doubtful breaks stay.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.text.compounds import JOINING, may_be_apart
from tinsmith.corpus.text.kernels import FNV_START, FNV_STEP, Codes, codes, compiled, fold_codes, mix
from tinsmith.corpus.text.words import Hashes, lowered

_MAX_HALF = 20  # occurrences of the rarer half of a broken word; commoner ones are words themselves
_MIN_LETTERS = 5  # of a whole word
_RATIO = 2  # occurrences of the whole word for each of the break
# Damage is everywhere in a text; one that writes "trade name" in two ways has fewer distinct breaks than this.
_WORDS_PER_BREAK = 2_000
_MIN_BREAKS = 2
_PASSES = 8  # a word broken into three takes two
# Pairs that are words both apart and together: "in to", "any one".
_COMMON = frozenset(
    "a all am an and any are as at be but by can do ever every far for from go had has have he her here "
    "him his how i if in into is it its may me more most my near no nor not of off on one or our out over "
    "own self she so some such than that the their them then there these they thing this through "
    "throughout time to under up upon us was way we were what when where which while who whom will with "
    "within without word body day side else wise".split()
)
_BREAK = re.compile(r"-[ \t]*\n")
_LINE_END = re.compile(r"(?<=[^\W\d_])-[ \t]*\n[ \t]*(?=[^\W\d_])")
_APOSTROPHES = "'\u2019"


class Dehyphenated(NamedTuple):
    """A text, and how many of its words were joined."""

    text: str
    words: int


def dehyphenate(text: str) -> Dehyphenated:
    """Join words broken by one space or a line-end hyphen, if the text has them whole elsewhere.

    A space is removed if one half occurs only in breaks, both halves are rarer than the whole word, the whole word
    occurs twice as often as the break, and the text has a distinct break per 2,000 words, and two at least. Words that
    may be right apart stay so: "take over" beside "takeover". A hyphen stays if the text writes the word with it
    elsewhere. Idempotent: a text that does not settle is left unchanged. A text without breaks is returned as the
    same object.
    """
    joined, words = text, 0
    for turn in range(_PASSES):
        joined, hyphens = _join_line_ends(joined)
        spaces = _find_spaces(joined, everywhere=not turn)
        if not hyphens and not spaces:
            return Dehyphenated(joined, words)
        edges = [0, *(edge for space in spaces for edge in (space, space + 1)), len(joined)]
        joined = "".join(joined[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
        words += hyphens + len(spaces)
    return Dehyphenated(text, 0)


def _join_line_ends(text: str) -> tuple[str, int]:
    breaks = list(_LINE_END.finditer(text)) if _BREAK.search(text) else []
    if not breaks:
        return text, 0
    # Words with a hyphen inside, such as "anti-trust", count as one.
    known = Counter(re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", text.lower()))
    parts, end, count = [], 0, 0
    for found in breaks:
        left, right = _letters_before(text, found.start()), _letters_after(text, found.end())
        whole, hyphened = known[f"{left}{right}".lower()], known[f"{left}-{right}".lower()]
        if (whole or hyphened) and not right[0].isupper() and right not in JOINING:
            parts += [text[end : found.start()], "" if whole >= hyphened else "-"]
            end = found.end()
            count += 1
    return ("".join([*parts, text[end:]]), count) if count else (text, 0)


def _letters_before(text: str, end: int) -> str:
    start = end - 1
    while start > 0 and text[start - 1].isalpha():
        start -= 1
    return text[start:end]


def _letters_after(text: str, start: int) -> str:
    end = start + 1
    while end < len(text) and text[end].isalpha():
        end += 1
    return text[start:end]


def _find_spaces(text: str, everywhere: bool) -> list[int]:
    """Return the positions of spaces that break a word; none if breaks should be everywhere and are not."""
    characters = codes(text if text.isascii() else lowered(text))
    words = fold_codes(characters)
    firsts, wholes = _find_breaks(characters, words.hashes, words.starts, words.ends)
    breaks: list[tuple[int, int, str]] = []  # position, occurrences of the whole word, the word as broken
    begins = -1  # of the second half of the previous break; one pass does not join a word twice
    for first, whole in zip(firsts.tolist(), wholes.tolist(), strict=True):
        start, position, end = int(words.starts[first]), int(words.ends[first]), int(words.ends[first + 1])
        before = text[max(0, start - 1) : start]
        if start != begins and _may_join(text[start:position], text[position + 1 : end], before):
            breaks.append((position, whole, text[start:end].lower()))
            begins = position + 1
    times = Counter(broken for _, _, broken in breaks)
    if everywhere and (len(times) < _MIN_BREAKS or len(times) * _WORDS_PER_BREAK < len(words.hashes)):
        return []
    return [position for position, whole, broken in breaks if whole >= _RATIO * times[broken]]


def _may_join(left: str, right: str, before: str) -> bool:
    """Return whether two halves can form a word: not numbers, abbreviations, names, "'s", or words by themselves."""
    return (
        left.isalpha()
        and right.isalpha()
        and right.islower()
        and not (left.isupper() and len(left) > 1)
        and (not before or before not in _APOSTROPHES)
        and not (left.lower() in _COMMON and right in _COMMON)
        and not may_be_apart(left, right)
    )


@compiled
def _find_breaks(
    characters: Codes, hashes: Hashes, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of words that are first halves, and the occurrences of their whole words.

    Words are counted in a hash table of open addressing.
    """
    count = len(hashes)
    size = np.uint64(2)
    while size < 2 * count:
        size *= np.uint64(2)
    mask = size - np.uint64(1)
    keys, times = np.zeros(size, np.uint64), np.zeros(size, np.int64)
    slots = np.empty(count, np.int64)
    for word in range(count):
        slots[word] = _slot(keys, hashes[word], mask)
        keys[slots[word]] = hashes[word]
        times[slots[word]] += 1
    wholes = np.zeros(count, np.int64)
    broken = np.zeros(count, np.bool_)
    for first in range(count - 1):
        if (
            starts[first + 1] - ends[first] != 1
            or characters[ends[first]] != 32
            or ends[first + 1] - starts[first] <= _MIN_LETTERS
            or min(times[slots[first]], times[slots[first + 1]]) > _MAX_HALF
        ):
            continue
        state = FNV_START
        for word in range(first, first + 2):
            for position in range(starts[word], ends[word]):
                code = np.uint64(characters[position])
                if code >= 65 and code <= 90:
                    code += np.uint64(32)
                state = (state ^ code) * FNV_STEP
        whole = mix(state)
        slot = _slot(keys, whole, mask)
        if keys[slot] == whole and times[slot]:
            wholes[first] = times[slot]
            broken[first] = broken[first + 1] = True
    alone = times
    for word in range(count):
        alone[slots[word]] -= broken[word]
    found = np.empty(count, np.int64)
    total = 0
    for first in range(count - 1):
        if wholes[first]:
            left, right = alone[slots[first]], alone[slots[first + 1]]
            # A whole word that occurs once is never commoner than a half that occurs alone.
            if min(left, right) == 0 and max(left, right) < wholes[first]:
                found[total] = first
                total += 1
    found = found[:total].copy()
    return found, wholes[found]


@compiled
def _slot(keys: Hashes, key: np.uint64, mask: np.uint64) -> np.int64:
    """Return the slot of a key in a table, or the free slot that it would take."""
    slot = key & mask
    while keys[slot] != key and keys[slot] != 0:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)
