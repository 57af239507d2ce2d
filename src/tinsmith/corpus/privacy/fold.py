"""Fold a text into plain spaces, hyphens, digits and letters, so that rules need not know their spellings."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.privacy.types import Span
from tinsmith.corpus.text.kernels import codes

_HYPHENS = "\u2010\u2011\u2012\u2013\u2043\u2212\ufe58"  # the em dash parts sentences, so it stays
_SPACES = "\u2800"  # and those of the category Zs
_SLASHES = "\u2044\u2215\u29f8"
_LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_SMALL = {"\u2024": ".", "\ufe52": ".", "\ufe5f": "#", "\ufe62": "+", "\ufe63": "-", "\ufe6b": "@"}
_PLAIN = (
    dict.fromkeys(_HYPHENS, "-")
    | dict.fromkeys(_SPACES, " ")
    | dict.fromkeys(_SLASHES, "/")
    | dict.fromkeys(_LINE_ENDS, "\n")
    | _SMALL
)
# Without a width of their own and not of the category of formats: joiners, fillers, frames of keycaps, selectors.
_ROOMLESS = (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x20E3, 0x3164, 0xFFA0)
_SELECTORS = ((0xFE00, 0xFE10), (0xE0100, 0xE01F0))
_FULL_WIDTH = (0xFF01, 0xFF5F)  # in the order of ASCII
_NO_ROOM = 0xFFFFFFFF
_ALL = 0x110000


class Folded(NamedTuple):
    """A text as rules read it. `places` (N,) has the original place of each character, None where all kept theirs."""

    text: str
    places: NDArray[np.intp] | None = None

    def original(self, span: Span) -> Span:
        """Return a span of the folded text as one of the original."""
        if self.places is None:
            return span
        return span._replace(start=int(self.places[span.start]), end=int(self.places[span.end - 1]) + 1)


def fold(text: str) -> Folded:
    """Return a text with plain spaces, hyphens, digits and letters, and without what takes no room.

    Any space that Unicode knows becomes a space, any hyphen or minus a hyphen, digits of any script and full-width
    characters become ASCII. Each stays one character.
    """
    if text.isascii():
        return Folded(text)
    found = codes(text)
    plain = _table()[found]
    stays = plain != _NO_ROOM
    if stays.all():
        return Folded(_text(plain) if (plain != found).any() else text)
    return Folded(_text(plain[stays]), np.flatnonzero(stays))


def _text(letters: NDArray[np.uint32]) -> str:
    return letters.tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _table() -> NDArray[np.uint32]:
    """Return what becomes of each code point (0x110000,)."""
    table = np.arange(_ALL, dtype=np.uint32)
    for letter, plain in _PLAIN.items():
        table[ord(letter)] = ord(plain)
    for code in (*range(0x80, 0x20000), *range(0xE0000, 0xE0080)):
        letter = chr(code)
        category = unicodedata.category(letter)
        if category == "Nd":
            table[code] = ord("0") + unicodedata.decimal(letter)
        elif category in ("Zs", "Cf"):
            table[code] = ord(" ") if category == "Zs" else _NO_ROOM
    first, end = _FULL_WIDTH
    table[first:end] = np.arange(ord("!"), ord("!") + end - first)
    table[list(_ROOMLESS)] = _NO_ROOM
    for first, end in _SELECTORS:
        table[first:end] = _NO_ROOM
    return table
