"""Write raised and lowered text in a line of plain text without changing the number or word beside it."""

from __future__ import annotations

import re

from tinsmith.corpus.readers.base import name_set

# Readers put these marks, which no text contains, around what a document raises or lowers.
RAISED, LOWERED, LEVEL = "\ufdd0", "\ufdd1", "\ufdd2"

_PLAIN = f"[^{RAISED}{LOWERED}{LEVEL}]"
_SLASH = "\\s?[/\u2044\u2215]\\s?"
_FRACTION = re.compile(
    f"(?P<before>\\d ?)?{RAISED}\\s*(?P<above>{_PLAIN}+?)\\s*{LEVEL}"
    f"(?:{_SLASH}{LOWERED}\\s*(?P<below>{_PLAIN}+?)\\s*{LEVEL}|\\s?\u2044\\s?(?P<level>\\d+))"
)
_SHIFTED = re.compile(f"(?P<shift>[{RAISED}{LOWERED}])(?P<inner>{_PLAIN}*){LEVEL}")
_MARKS = re.compile(f"[{RAISED}{LOWERED}{LEVEL}]")
_NUMBER = re.compile("[+\u2212\u2013-]?\\d+|\\d*[+\u2212\u2013-]")
_ORDINALS = name_set("st nd rd th er re ère e ème eme nde o a os as º ª")
_ABBREVIATIONS = name_set("o r")  # of "No" and "Mr"
_ISOTOPE = re.compile(r"[A-Z][a-z]?(?![a-z])")
_MAX_NOTE = 12  # characters; longer raised text is a remark and no exponent


def write_raised(text: str) -> str:
    """Replace the marks: `10^6`, `x^(n+1)`, `3 1/2`, `12,345^1`, but `1st` and `H2O`.

    A raised figure that begins a word, such as the number of a note, is followed by a space.
    """
    if not _MARKS.search(text):
        return text
    text = _FRACTION.sub(_write_fraction, text)
    parts: list[str] = []
    end = 0
    for found in _SHIFTED.finditer(text):
        parts.append(text[end : found.start()])
        before = _tail("".join(parts[-2:]))
        write = _write_raised if found["shift"] == RAISED else _write_lowered
        parts.append(write(found["inner"], before, text[found.end() : found.end() + 3]))
        end = found.end()
    return _MARKS.sub("", "".join([*parts, text[end:]]))


def _write_fraction(found: re.Match[str]) -> str:
    whole = found["before"] or ""
    return f"{whole.rstrip()}{' ' if whole else ''}{found['above']}/{found['below'] or found['level']}"


def _tail(text: str) -> str:
    """Return the letters and digits at the end of a text, or its last other character."""
    end = len(text)
    while end and text[end - 1].isalnum():
        end -= 1
    return text[end:] or text[-1:]


def _write_raised(inner: str, before: str, after: str) -> str:
    core = inner.strip()
    space = " " if inner[:1].isspace() else ""
    gap = " " if inner[-1:].isspace() or (core[-1:].isdigit() and after[:1].isdigit()) else ""
    if not before.strip() or before in "([{\"'“‘":
        return f"{core}{gap or _gap_after_note(core, after)}"
    if core[:1] == "[" or not any(map(str.isalnum, core)):
        return inner
    if _NUMBER.fullmatch(core):
        return f"^{core}{gap}"
    if core.isalpha():
        return f"^{core}{gap}" if _is_exponent(core, before) else inner
    if len(core) > _MAX_NOTE:
        return f"{space or ' '}{core}{gap}"
    return f"^({core.removeprefix('(').removesuffix(')')}){gap}"


def _gap_after_note(core: str, after: str) -> str:
    """Return a space where the number of a note would join the first word of the note."""
    is_note = core.isdigit() or (len(core) == 1 and core.isalpha())
    isotope = core.isdigit() and _ISOTOPE.match(after)
    return " " if is_note and after[:1].isalnum() and not isotope else ""


def _is_exponent(letters: str, before: str) -> bool:
    if before[-1].isdigit():
        return letters.lower() not in _ORDINALS
    alone = len(before) == 1 and letters not in _ABBREVIATIONS
    return len(letters) == 1 and alone and (before.isalpha() or before in ")]}")


def _write_lowered(inner: str, before: str, after: str) -> str:
    core = inner.strip()
    joins = (core[:1].isdigit() and before[-1:].isdigit()) or (core[-1:].isdigit() and after[:1].isdigit())
    if not any(map(str.isalnum, core)) or not before.strip():
        return inner
    if core.isalnum():
        return f"{'_' if joins else ''}{core}{' ' if joins and after[:1].isalnum() else ''}"
    operators = any(sign in core for sign in "+-−=*/")
    return f"_({core})" if operators else inner
