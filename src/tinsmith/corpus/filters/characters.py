"""The properties of each character that filters look at: one integer of flags per code point."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.uint16]

LETTER, ALPHANUMERIC, SPACE, MARK, UPPER = 1, 2, 4, 8, 16
TERMINAL, BULLET, BRACKET, DASH = 32, 64, 128, 256
# Scripts without spaces between words: two ideographs, or four syllables, count as a word.
IDEOGRAPH, SYLLABLE = 512, 1024
IN_WORD, UNSPACED = ALPHANUMERIC | MARK, IDEOGRAPH | SYLLABLE

# Ends of sentences in the scripts in use today (Unicode property Sentence_Terminal).
_TERMINALS = ".!?。！？．｡。।॥؟۔؞։።፧፨၊။។៕៖᠃᠉߹܀܁܂᱾᱿꓿꘎꘏꛳꛷⸮‼‽⁇⁈⁉᥄᥅᭚᭛᭞᭟᰻᰼꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫"
_BULLETS = "•‣⁃◦▪▫■□●○-"
_BRACKETS = "()[]\"'“”‘’«»„"
_DASHES = "-–—~"
_MARKS = ((0x300, 0x20000), (0xE0100, 0xE01F0))
_IDEOGRAPHS = ((0x3040, 0x3100), (0x31F0, 0x3200), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00))
_MORE_IDEOGRAPHS = ((0xFF66, 0xFFA0), (0x1B000, 0x1B170), (0x20000, 0x3FFFE))
_SYLLABLES = ((0x0E00, 0x0F00), (0x0F00, 0x10A0), (0x1780, 0x1800), (0x1950, 0x1A20), (0x1A20, 0x1AB0))


@cache
def flags() -> Flags:
    """Return the flags of every code point, (1114112,)."""
    characters = np.arange(0x110000, dtype=np.uint32).view("U1")
    found = np.zeros(0x110000, np.uint16)
    tests = {
        LETTER: np.strings.isalpha,
        ALPHANUMERIC: np.strings.isalnum,
        SPACE: np.strings.isspace,
        UPPER: np.strings.isupper,
    }
    for flag, test in tests.items():
        found[test(characters)] |= flag
    for start, end in _MARKS:
        for code in range(start, end):
            if unicodedata.category(chr(code))[0] == "M":
                found[code] |= MARK
    for flag, members in ((TERMINAL, _TERMINALS), (BULLET, _BULLETS), (BRACKET, _BRACKETS), (DASH, _DASHES)):
        found[[ord(member) for member in members]] |= flag
    _flag(found, (*_IDEOGRAPHS, *_MORE_IDEOGRAPHS), IDEOGRAPH)
    _flag(found, _SYLLABLES, SYLLABLE)
    return found


def _flag(found: Flags, ranges: tuple[tuple[int, int], ...], flag: int) -> None:
    """Set a flag on the letters and marks of ranges of code points."""
    for start, end in ranges:
        part = found[start:end]
        part[(part & IN_WORD) > 0] |= np.uint16(flag)
