"""Find in one compiled pass the characters of a text that may need repair; nearly all texts have none.

Plain are printable ASCII, tab and line feed, and characters that a wrong decoding cannot produce: visible, in NFC,
and in none of the encodings that ftfy tries. Some typographic signs of those encodings are plain too, unless one
that can begin a wrongly decoded sequence directly precedes one that can end it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from ftfy.chardata import CHARMAP_ENCODINGS
from numpy.typing import NDArray

from tinsmith.corpus.text.kernels import codes, scan_classes

OPENERS, CLOSERS = "\u201c\u201d\u2018\u2019\u2013\u2014\u2026\u00a0", "\u00a7\u2022\u00a9\u00ae\u2122"
_UNUSUAL, _OPENER, _CLOSER, _PLAIN = range(4)
_PLANE = 0x10000
_HANDLED = re.compile(
    "[\u0300-\u052f\u1100-\u11ff\u3164\ua960-\ua97f\ud7b0-\ud7ff\ufb00-\ufb06\uffa0\ufff9-\uffff]"
)
_ABOVE = re.compile("[\U00010000-\U0010ffff]")


class CharScan(NamedTuple):
    """The distinct characters of a text that are not plain, and whether plain signs stand in a doubtful order."""

    unusual: str
    doubtful: bool

    @property
    def is_plain(self) -> bool:
        """Return whether the text needs no repair."""
        return not (self.unusual or self.doubtful)


def scan_characters(text: str) -> CharScan:
    """Scan all characters of a text."""
    found, _, doubtful = scan_classes(codes(text), _classes())
    unusual = "".join(map(chr, found[found < _PLANE].tolist()))
    if len(found) and found[-1] == _PLANE:
        unusual += "".join(sorted(set(_ABOVE.findall(text))))
    return CharScan(unusual, bool(doubtful))


@cache
def _classes() -> NDArray[np.uint8]:
    """Return the class of each character of the first plane (65536,)."""
    decodable = {letter for name in CHARMAP_ENCODINGS for letter in bytes(range(256)).decode(name, "ignore")}
    decodable |= set(bytes(range(256)).decode("latin-1"))
    classes = np.full(_PLANE, _UNUSUAL, np.uint8)
    for code in range(0x100, _PLANE):
        letter = chr(code)
        if letter not in decodable and _is_final(letter):
            classes[code] = _PLAIN
    classes[[9, 10, *range(0x20, 0x7F)]] = _PLAIN
    classes[list(map(ord, OPENERS))] = _OPENER
    classes[list(map(ord, CLOSERS))] = _CLOSER
    return classes


def _is_final(letter: str) -> bool:
    return (
        unicodedata.category(letter)[0] not in "CM"
        and unicodedata.category(letter) not in ("Zl", "Zp")
        and unicodedata.is_normalized("NFC", letter)
        and not _HANDLED.match(letter)
    )
