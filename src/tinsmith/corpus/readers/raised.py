"""Marks around raised and lowered text, and the line of plain text that they become."""

from __future__ import annotations

import re

from tinsmith.corpus.readers import line

# Readers put these marks, which no text contains, around what a document raises or lowers.
RAISED, LOWERED, LEVEL = "\ufdd0", "\ufdd1", "\ufdd2"
_LEVELS = {RAISED: line.RAISED, LOWERED: line.LOWERED, LEVEL: line.LEVEL}
_MARK = re.compile(f"([{RAISED}{LOWERED}{LEVEL}])")


def write_raised(text: str) -> str:
    """Replace the marks: `10^6`, `x^(n+1)`, `3 1/2`, `12,345^1`, but `1st` and `H2O`."""
    if not _MARK.search(text):
        return text
    found, level = line.Line(), line.LEVEL
    for part in _MARK.split(text):
        if part in _LEVELS:
            level = _LEVELS[part]
        else:
            found.add(part, level)
    return found.text()
