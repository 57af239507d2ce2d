"""Words that a page's typesetting broke, "Wash ington" or "exami-" at a line's end, made whole again.

The document itself is asked: a break is mended only where it writes the whole word elsewhere. What is doubtful stays.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.text.kernels import FNV_START, FNV_STEP, Codes, codes, compiled, fold_codes, mix
from tinsmith.corpus.text.words import Hashes, lowered

_MOST = 20  # times that the half of a broken word occurs; commoner ones are words
_SHORTEST = 5  # letters of a whole word
_MORE = 2  # times as often as the break that the whole word stands
# Words to each different break: damage is everywhere, and a text that writes "health care" in two ways is not damaged.
_WORDS = 2_000
# A word broken into three is whole after the second pass; texts that take more are not damaged but odd.
_PASSES = 8
# Words that stand beside each other by right, though English writes them as one word too: "in to", "any one".
_COMMON = frozenset(
    "a all am an and any are as at be but by can do ever every far for from go had has have he her here "
    "him his how i if in into is it its may me more most my near no nor not of off on one or our out over "
    "own self she so some such than that the their them then there these they thing this through "
    "throughout time to under up upon us was way we were what when where which while who whom will with "
    "within without word body day side else wise".split()
)
_APART = ("and", "or", "to")  # "short- and long-term" is no break
_BREAK = re.compile(r"-[ \t]*\n")
_LINE_END = re.compile(r"(?<=[^\W\d_])-[ \t]*\n[ \t]*(?=[^\W\d_])")
_APOSTROPHES = "'\u2019"


class Mended(NamedTuple):
    """A text, and how many words of it were made whole."""

    text: str
    words: int


def mend(text: str) -> Mended:
    """Join words that one space or a line-end hyphen broke, where the text says them whole elsewhere.

    With a space: a half stands nowhere but in breaks, both stand alone less often than the whole word, which stands
    twice as often as the break; and the text has a different break in each 2,000 words. With a hyphen: the whole word
    occurs elsewhere; where the text writes it with its hyphen instead, the hyphen stays. To mend again changes nothing:
    a text that does not come to rest is left as it is, and one with nothing to mend comes back as the same object.
    """
    mended, words = text, 0
    for turn in range(_PASSES):
        mended, hyphens = _join_line_ends(mended)
        places = _find_spaces(mended, everywhere=not turn)
        if not hyphens and not places:
            return Mended(mended, words)
        edges = [0, *(edge for place in places for edge in (place, place + 1)), len(mended)]
        mended = "".join(mended[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
        words += hyphens + len(places)
    return Mended(text, 0)


def _join_line_ends(text: str) -> tuple[str, int]:
    breaks = list(_LINE_END.finditer(text)) if _BREAK.search(text) else []
    if not breaks:
        return text, 0
    # Also the words on both sides of a hyphen within a line: "anti-trust".
    known = Counter(re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", text.lower()))
    parts, end, count = [], 0, 0
    for found in breaks:
        left, right = _letters_before(text, found.start()), _letters_after(text, found.end())
        whole, hyphened = known[f"{left}{right}".lower()], known[f"{left}-{right}".lower()]
        if (whole or hyphened) and not right[0].isupper() and right not in _APART:
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
    """Return the places of spaces that break a word, in order; none if breaks should be everywhere and are not."""
    characters = codes(text if text.isascii() else lowered(text))
    words = fold_codes(characters)
    firsts, wholes = _find_breaks(characters, words.hashes, words.starts, words.ends)
    breaks: list[tuple[int, int, str]] = []  # place, times that the whole word stands, the word as broken
    begins = -1  # where the second half of the break before begins; a word is not broken twice in one pass
    for first, whole in zip(firsts.tolist(), wholes.tolist(), strict=True):
        start, place, end = int(words.starts[first]), int(words.ends[first]), int(words.ends[first + 1])
        before = text[max(0, start - 1) : start]
        if start != begins and _may_join(text[start:place], text[place + 1 : end], before):
            breaks.append((place, whole, text[start:end].lower()))
            begins = place + 1
    times = Counter(broken for _, _, broken in breaks)
    if everywhere and len(times) * _WORDS < len(words.hashes):
        return []
    return [place for place, whole, broken in breaks if whole >= _MORE * times[broken]]


def _may_join(left: str, right: str, before: str) -> bool:
    """Say whether two halves can be a word's: no numbers, abbreviations, names, ends of "it's", common words."""
    return (
        left.isalpha()
        and right.isalpha()
        and right.islower()
        and not (left.isupper() and len(left) > 1)
        and (not before or before not in _APOSTROPHES)
        and not (left.lower() in _COMMON and right in _COMMON)
    )


@compiled
def _find_breaks(
    characters: Codes, hashes: Hashes, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of words that are first halves, and how often the whole words stand.

    Words are counted in a table of open addressing.
    """
    count = len(hashes)
    size = np.uint64(2)
    while size < 2 * count:
        size *= np.uint64(2)
    mask = size - np.uint64(1)
    keys, times = np.zeros(size, np.uint64), np.zeros(size, np.int64)
    places = np.empty(count, np.int64)
    for word in range(count):
        places[word] = _place(keys, hashes[word], mask)
        keys[places[word]] = hashes[word]
        times[places[word]] += 1
    wholes = np.zeros(count, np.int64)
    broken = np.zeros(count, np.bool_)
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
        whole = mix(state)
        stands = _place(keys, whole, mask)
        if keys[stands] == whole and times[stands]:
            wholes[first] = times[stands]
            broken[first] = broken[first + 1] = True
    alone = times
    for word in range(count):
        alone[places[word]] -= broken[word]
    found = np.empty(count, np.int64)
    number = 0
    for first in range(count - 1):
        if wholes[first]:
            left, right = alone[places[first]], alone[places[first + 1]]
            # A whole word that stands once is never commoner than a half that stands alone.
            if min(left, right) == 0 and max(left, right) < wholes[first]:
                found[number] = first
                number += 1
    found = found[:number].copy()
    return found, wholes[found]


@compiled
def _place(keys: Hashes, key: np.uint64, mask: np.uint64) -> np.int64:
    """Return where a key lies in a table, or the free place where it would."""
    place = key & mask
    while keys[place] != key and keys[place] != 0:
        place = (place + np.uint64(1)) & mask
    return np.int64(place)
