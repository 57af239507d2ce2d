"""Remove text that a reader does not see, and replace lookalike letters; count both."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from tinsmith.corpus.text.char_scan import scan_characters

KINDS = {
    "tags": "tag characters, which spell out invisible ASCII",
    "zero_width": "characters without width or shape, outside the scripts and emoji that need them",
    "bidirectional": "controls that display text in another order than it is stored",
    "variation_selectors": "variation selectors after a character without variants, or several in a row",
    "homoglyphs": "letters of another alphabet that look like those of the word",
}

# The flags of England, Scotland and Wales are spelt in tags, which are visible there.
_TAGS = re.compile(
    "(?P<flag>\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{2,6}\U000e007f)|[\U000e0000-\U000e007f]+"
)
_ZERO_WIDTH = re.compile(
    "[\u180e\u200b\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a]"
)
# Joiners shape Arabic and Indic letters and emoji; elsewhere they mean nothing.
_STRAY_JOINERS = re.compile("(?<![\u0300-\u1fff\u2100-\U0010ffff])[\u200c\u200d]+")
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_MARKS = re.compile("[\u061c\u200e\u200f]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
_SUSPECT = re.compile(
    "[\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e01ef]"
)
_CYRILLIC = dict(zip("АВЕЅІЈКМНОРСТУХаеѕіјорсухԁһԛԝ", "ABESIJKMHOPCTYXaesijopcyxdhqw", strict=True))
_GREEK = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαιορυν", "ABEZHIKMNOPTYXaiopuv", strict=True))
_TO_LATIN = {**_CYRILLIC, **_GREEK}
_TO_CYRILLIC = {latin: cyrillic for cyrillic, latin in _CYRILLIC.items()}
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_SLAVIC = re.compile("[\u0400-\u052f]")
_LOOKALIKE = re.compile("[\u0370-\u052f]")
_MIXED = re.compile("[A-Za-z][\u0370-\u052f]|[\u0370-\u052f][A-Za-z]")
_WORD = re.compile(r"[^\W\d_]+")


class Uncovered(NamedTuple):
    """A text as a reader sees it, the characters changed by KINDS, and the hidden messages."""

    text: str
    counts: dict[str, int]
    messages: tuple[str, ...] = ()


def uncover(text: str) -> Uncovered:
    """Remove hidden characters, replace lookalike letters, and decode what tags and selectors spell."""
    if text.isascii():
        return Uncovered(text, {})
    unusual = scan_characters(text).unusual
    counts: Counter[str] = Counter()
    messages: list[str] = []
    if _SUSPECT.search(unusual):
        text = _remove_tags(text, counts, messages)
        text = _remove_selectors(text, counts, messages)
        text = _remove(_REORDERING, text, "bidirectional", counts)
        text = _remove_marks(text, counts)
        text = _remove(_ZERO_WIDTH, text, "zero_width", counts)
        text = _remove(_STRAY_JOINERS, text, "zero_width", counts)
    if _LOOKALIKE.search(unusual) and _MIXED.search(text):
        text = _WORD.sub(lambda word: _one_alphabet(word[0], counts), text)
    return Uncovered(text, dict(counts), tuple(messages))


def strip_invisible(text: str) -> str:
    """Remove tags, zero-width characters and stray joiners, which no repaired text contains."""
    if not _SUSPECT.search(text):
        return text
    text = _ZERO_WIDTH.sub("", _TAGS.sub(lambda found: found["flag"] or "", text))
    return _STRAY_JOINERS.sub("", text)


def _remove(pattern: re.Pattern[str], text: str, kind: str, counts: Counter[str]) -> str:
    left = pattern.sub("", text)
    if removed := len(text) - len(left):
        counts[kind] += removed
    return left


def _remove_tags(text: str, counts: Counter[str], messages: list[str]) -> str:
    def remove(found: re.Match[str]) -> str:
        if found["flag"]:
            return found["flag"]
        counts["tags"] += len(found[0])
        message = "".join(chr(ord(tag) - 0xE0000) for tag in found[0])
        messages.append("".join(letter for letter in message if letter.isprintable()))
        return ""

    return _TAGS.sub(remove, text)


def _remove_selectors(text: str, counts: Counter[str], messages: list[str]) -> str:
    """Keep a single selector after a character with variants; a longer run encodes a byte in each."""

    def remove(found: re.Match[str]) -> str:
        base = text[found.start() - 1] if found.start() else ""
        stays = 1 if _has_variants(base) and len(found[0]) == 1 else 0
        if removed := len(found[0]) - stays:
            counts["variation_selectors"] += removed
            data = bytes(_selected_byte(letter) for letter in found[0])
            if message := "".join(filter(str.isprintable, data.decode("utf-8", "ignore"))):
                messages.append(message)
        return found[0][:stays]

    return _SELECTORS.sub(remove, text)


def _has_variants(base: str) -> bool:
    return base != "" and (base in "0123456789#*" or (base >= "\u00a9" and not _LATIN.match(base)))


def _selected_byte(selector: str) -> int:
    number = ord(selector)
    return number - 0xFE00 if number < 0xE0100 else number - 0xE0100 + 16


def _remove_marks(text: str, counts: Counter[str]) -> str:
    """Keep direction marks only in lines with letters written from right to left."""
    if not _MARKS.search(text):
        return text
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not _RIGHT_TO_LEFT.search(_MARKS.sub("", line)):
            lines[number] = _remove(_MARKS, line, "bidirectional", counts)
    return "\n".join(lines)


def _one_alphabet(word: str, counts: Counter[str]) -> str:
    """Replace lookalikes in a word mostly of one alphabet whose other letters are all lookalikes."""
    if word.isascii():
        return word
    latin, slavic = len(_LATIN.findall(word)), len(_SLAVIC.findall(word))
    others = len(word) - latin
    if latin > others > 0 and latin >= 2:
        strange, table = [letter for letter in word if not _LATIN.match(letter)], _TO_LATIN
    elif slavic > latin > 0 and slavic + latin == len(word):
        strange, table = [letter for letter in word if _LATIN.match(letter)], _TO_CYRILLIC
    else:
        return word
    if not all(letter in table for letter in strange):
        return word
    counts["homoglyphs"] += len(strange)
    swaps = {ord(letter): table[letter] for letter in strange}
    return word.translate(swaps)
