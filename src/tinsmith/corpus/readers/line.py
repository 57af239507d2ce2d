"""A line of text of which some is raised, lowered or an equation, written so that figures do not run together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinsmith.corpus.readers.base import name_set

LEVEL, RAISED, LOWERED = 0, 1, -1
_EQUATION = 2
_Run = tuple[int, str]

# What is raised and yet part of the number or word before it: 1st, 2e, 14h30, No, Mme, TM.
_ORDINALS = name_set("st nd rd th er ère ere re ème eme me nde ter bis os as tm sm")
# After numbers of three figures at most; behind longer ones they are marks of notes.
_SHORT_ORDINALS = name_set("e o a ª º h")
_ABBREVIATIONS = name_set("mc me mes lle lles gr ie ies rs te ta o os")
_MARKS = ("tm", "sm")
_SHORT_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}$")
_SIMPLE = re.compile(r"[+\-−–±]?(?:\d+(?:\.\d+)?|[^\W\d_]+)|\([^()]*\)")
_ISOTOPE = re.compile(r"[A-Z][a-z]?(?![a-z])")
_BELOW = re.compile(r"\s?⁄\s?(\d+)")  # of a fraction whose denominator is not lowered
# The levels of a fraction that is written with raised and lowered figures, and the pattern of its text.
_FRACTIONS = (
    ((RAISED,), r"(\d+)[/⁄](\d+)"),
    ((RAISED, LOWERED), r"(\d+)\s*[/⁄]\s*(\d+)"),
    ((RAISED, LEVEL, LOWERED), r"(\d+)[/⁄](\d+)"),
)


class Line:
    """Text in the order in which it is added: level, raised, lowered, and equations."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def add(self, text: str, level: int = LEVEL) -> None:
        """Append text that is level, raised or lowered; runs of one level are one."""
        if text and self._runs and self._runs[-1][0] == level:
            self._runs[-1] = (level, self._runs[-1][1] + text)
        elif text:
            self._runs.append((level, text))

    def add_equation(self, text: str) -> None:
        """Append an equation in linear form."""
        if text:
            self._runs.append((_EQUATION, text))

    def text(self) -> str:
        """Return the line, such as `10^6`, `12,345^1`, `3 1/2`, `1st`, `H2O` and `x^(n+1)`."""
        if len(self._runs) == 1:
            return self._runs[0][1]
        written, index = "", 0
        loose = False  # whether the last run was raised with nothing before it
        while index < len(self._runs):
            level, text = self._runs[index]
            fraction, taken = _fraction(self._runs[index : index + 3], written)
            if fraction or level in (LEVEL, _EQUATION):
                isotope = written[-1:].isdigit() and _ISOTOPE.match(text)
                written = append(written, fraction or text, spaced=loose and not isotope)
                loose = False
            else:
                loose = not written[-1:].strip()
                written = _shift(written, text, level)
            index += taken
        return written


def append(written: str, text: str, *, spaced: bool) -> str:
    """Append text, with a space between two figures and, if so wished, between two letters or figures."""
    before, after = written[-1:], text[:1]
    joins = (before.isdigit() and after.isdigit()) or (spaced and before.isalnum() and after.isalnum())
    return f"{written} {text}" if joins else written + text


def _fraction(runs: Sequence[_Run], written: str) -> tuple[str, int]:
    """Return the fraction that the next runs are, "" if they are none, and the number of runs to take."""
    for levels, pattern in _FRACTIONS:
        if tuple(level for level, _ in runs[: len(levels)]) == levels:
            text = "".join(text for _, text in runs[: len(levels)])
            match = re.fullmatch(rf"{pattern}(\s*)", text)
            # A raised 3/2 behind a number is its exponent, a raised 1/2 is half more.
            if match and (len(levels) > 1 or int(match[1]) < int(match[2]) or not written[-1:].isdigit()):
                return f"{match[1]}/{match[2]}{match[3]}", len(levels)
    if len(runs) > 1 and (runs[0][0], runs[1][0]) == (RAISED, LEVEL):
        above, below = runs[0][1].strip(), _BELOW.match(runs[1][1])
        if above.isdecimal() and below:
            return f"{above}/{below[1]}{runs[1][1][below.end() :]}", 2
    return "", 1


def _shift(written: str, text: str, level: int) -> str:
    """Append raised or lowered text; white space around it is level."""
    core = text.strip()
    if not core:
        return written + text
    lead, _, tail = text.partition(core)
    written += lead
    mark = _mark_raised(written, core) if level == RAISED else _mark_lowered(written, core)
    return written + (mark + (core if _SIMPLE.fullmatch(core) else f"({core})") if mark else core) + tail


def _mark_raised(written: str, core: str) -> str:
    """Return `^` if raised text would change what stands before it or its own meaning, else the empty string."""
    before, letters = written[-1:], core.strip(".,;:").lower()
    if not any(char.isalnum() for char in core) or core.startswith("[") or letters in _MARKS:
        return ""
    if not before.strip() or before in "([{\"'“‘«":
        return "^" if core[0].isdigit() and written.rstrip()[-1:].isdigit() else ""
    if before.isdigit() and letters in _SHORT_ORDINALS:
        return "" if _SHORT_NUMBER.search(written) else "^"
    belongs = (before.isdigit() and letters in _ORDINALS) or (before.isalpha() and letters in _ABBREVIATIONS)
    return "" if belongs else "^"


def _mark_lowered(written: str, core: str) -> str:
    """Return `_` if lowered text would change what stands before it or its own meaning, else the empty string."""
    figures = written[-1:].isdigit() and core[0].isdigit()
    return "_" if figures or (written[-1:].isalnum() and not _SIMPLE.fullmatch(core)) else ""
