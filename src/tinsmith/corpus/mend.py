"""Words that a page's typesetting broke, "Wash ington" or "exami-" at a line's end, made whole again.

The document itself is asked: a break is mended only where it writes the whole word elsewhere. What is doubtful stays.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.kernels import FNV_START, FNV_STEP, Codes, codes, compiled, fold_codes, mix
from tinsmith.corpus.text import MULTIPLIER, Hashes, lowered

_MOST = 20  # times that the half of a broken word occurs; commoner ones are words
_SHORTEST = 5  # letters of a whole word
_WHOLE = 3  # times at least that the whole word stands in the text
_MORE = 2  # times as often as the break
_LINE_END = re.compile(r"([^\W\d_]+)-[ \t]*\n[ \t]*([^\W\d_]+)")


class Mended(NamedTuple):
    """A text, and how many words of it were made whole."""

    text: str
    words: int


def mend(text: str) -> Mended:
    """Join words that one space or a line-end hyphen broke, where the text says them whole elsewhere.

    With a space: a half occurs nowhere but in this break, and the whole word twice as often as the break.
    With a hyphen: the whole word occurs elsewhere; where the text writes it with its hyphen instead, the hyphen stays.
    """
    hyphens = 0
    if "-" in text and _LINE_END.search(text):
        text, hyphens = _join_line_ends(text)
    places = _find_spaces(text)
    if not places:
        return Mended(text, hyphens)
    edges = [0, *(edge for place in places for edge in (place, place + 1)), len(text)]
    whole = "".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    return Mended(whole, hyphens + len(places))


def _join_line_ends(text: str) -> tuple[str, int]:
    # Also the words on both sides of a hyphen within a line: "anti-trust".
    known = Counter(re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", text.lower()))
    count = 0

    def join(found: re.Match[str]) -> str:
        nonlocal count
        left, right = found.groups()
        whole, hyphened = known[f"{left}{right}".lower()], known[f"{left}-{right}".lower()]
        if not (whole or hyphened) or right[0].isupper():
            return found.group()
        count += 1
        return f"{left}{right}" if whole >= hyphened else f"{left}-{right}"

    return _LINE_END.sub(join, text), count


def _find_spaces(text: str) -> list[int]:
    """Return the places of spaces that break a word, in order."""
    characters = codes(text if text.isascii() else lowered(text))
    words = fold_codes(characters)
    firsts = _find_breaks(characters, words.hashes, words.starts, words.ends)
    places = words.ends[firsts]
    return [place for place in places.tolist() if text[place + 1].islower()]


@compiled
def _find_breaks(
    characters: Codes, hashes: Hashes, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the numbers of words that are first halves; words and pairs are counted in tables of open addressing."""
    count = len(hashes)
    mask = np.uint64(1)
    while mask < 2 * count + 2:
        mask *= np.uint64(2)
    keys, times = np.zeros(mask, np.uint64), np.zeros(mask, np.int64)
    pairs, pair_times = np.zeros(mask, np.uint64), np.zeros(mask, np.int64)
    mask -= np.uint64(1)
    places = np.empty(count, np.int64)
    for word in range(count):
        places[word] = _place(keys, hashes[word], mask)
        times[places[word]] += 1
    wholes = np.zeros(count, np.int64)
    for first in range(count - 1):
        if (
            starts[first + 1] - ends[first] != 1
            or characters[ends[first]] != 32
            or ends[first + 1] - starts[first] <= _SHORTEST
            or min(times[places[first]], times[places[first + 1]]) > _MOST
        ):
            continue
        state = FNV_START
        for word in range(first, first + 2):
            for place in range(starts[word], ends[word]):
                code = np.uint64(characters[place])
                if code >= 65 and code <= 90:
                    code += np.uint64(32)
                state = (state ^ code) * FNV_STEP
        wholes[first] = times[_place(keys, mix(state), mask)]
        if wholes[first] >= _WHOLE:
            pair_times[_place(pairs, hashes[first] * MULTIPLIER + hashes[first + 1], mask)] += 1
    found = np.empty(count, np.int64)
    number = 0
    for first in range(count - 1):
        if wholes[first] < _WHOLE:
            continue
        broken = pair_times[_place(pairs, hashes[first] * MULTIPLIER + hashes[first + 1], mask)]
        left, right = times[places[first]], times[places[first + 1]]
        if wholes[first] >= _MORE * broken and broken in (left, right):
            found[number] = first
            number += 1
    return found[:number].copy()


@compiled
def _place(keys: Hashes, key: np.uint64, mask: np.uint64) -> np.int64:
    """Return where a key lies in a table, or put it there."""
    place = key & mask
    while keys[place] != key and keys[place] != 0:
        place = (place + np.uint64(1)) & mask
    keys[place] = key
    return np.int64(place)
