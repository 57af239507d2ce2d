"""Text that a reader does not see: invisible characters taken out, lookalike letters put right, both counted."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from tinsmith.corpus.text.char_scan import survey

KINDS = {
    "tags": "tag characters, which spell out ASCII that nothing shows",
    "zero_width": "characters without width or shape, outside the scripts and emoji that they shape",
    "bidirectional": "controls that show text in another order than it is stored",
    "variation_selectors": "selectors after nothing that has variants, or several in a row",
    "homoglyphs": "letters of one alphabet that pass for those of the word's own",
}

# A flag of England, Scotland or Wales is a black flag spelt out in tags: those tags are seen.
_TAGS = re.compile(
    "(?P<flag>\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{2,6}\U000e007f)|[\U000e0000-\U000e007f]+"
)
_ZERO_WIDTH = re.compile(
    "[\u180e\u200b\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a]"
)
# Joiners shape Arabic and Indic letters and emoji, and mean nothing after anything else.
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
    """A text as a reader sees it, how many characters of each of KINDS that took, and what they said."""

    text: str
    counts: dict[str, int]
    messages: tuple[str, ...] = ()


def uncover(text: str) -> Uncovered:
    """Take hidden characters out of a text and put lookalike letters right; decode what tags and selectors say."""
    if text.isascii():
        return Uncovered(text, {})
    unusual = survey(text).unusual
    counts: Counter[str] = Counter()
    messages: list[str] = []
    if _SUSPECT.search(unusual):
        text = _take_tags(text, counts, messages)
        text = _take_selectors(text, counts, messages)
        text = _take(_REORDERING, text, "bidirectional", counts)
        text = _take_marks(text, counts)
        text = _take(_ZERO_WIDTH, text, "zero_width", counts)
        text = _take(_STRAY_JOINERS, text, "zero_width", counts)
    if _LOOKALIKE.search(unusual) and _MIXED.search(text):
        text = _WORD.sub(lambda word: _one_alphabet(word[0], counts), text)
    return Uncovered(text, dict(counts), tuple(messages))


def strip_invisible(text: str) -> str:
    """Return a text without tags, zero-width characters and stray joiners: what no repaired text holds."""
    if not _SUSPECT.search(text):
        return text
    text = _ZERO_WIDTH.sub("", _TAGS.sub(lambda found: found["flag"] or "", text))
    return _STRAY_JOINERS.sub("", text)


def _take(pattern: re.Pattern[str], text: str, kind: str, counts: Counter[str]) -> str:
    left = pattern.sub("", text)
    if taken := len(text) - len(left):
        counts[kind] += taken
    return left


def _take_tags(text: str, counts: Counter[str], messages: list[str]) -> str:
    def take(found: re.Match[str]) -> str:
        if found["flag"]:
            return found["flag"]
        counts["tags"] += len(found[0])
        said = "".join(chr(ord(tag) - 0xE0000) for tag in found[0])
        messages.append("".join(letter for letter in said if letter.isprintable()))
        return ""

    return _TAGS.sub(take, text)


def _take_selectors(text: str, counts: Counter[str], messages: list[str]) -> str:
    """Leave one selector after a sign that can have variants; a longer run carries a byte in each."""

    def take(found: re.Match[str]) -> str:
        base = text[found.start() - 1] if found.start() else ""
        stays = 1 if _has_variants(base) and len(found[0]) == 1 else 0
        if gone := len(found[0]) - stays:
            counts["variation_selectors"] += gone
            data = bytes(_selected_byte(letter) for letter in found[0])
            if said := "".join(filter(str.isprintable, data.decode("utf-8", "ignore"))):
                messages.append(said)
        return found[0][:stays]

    return _SELECTORS.sub(take, text)


def _has_variants(base: str) -> bool:
    return base != "" and (base in "0123456789#*" or (base >= "\u00a9" and not _LATIN.match(base)))


def _selected_byte(selector: str) -> int:
    number = ord(selector)
    return number - 0xFE00 if number < 0xE0100 else number - 0xE0100 + 16


def _take_marks(text: str, counts: Counter[str]) -> str:
    """Leave direction marks in lines that hold letters written from right to left."""
    if not _MARKS.search(text):
        return text
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not _RIGHT_TO_LEFT.search(_MARKS.sub("", line)):
            lines[number] = _take(_MARKS, line, "bidirectional", counts)
    return "\n".join(lines)


def _one_alphabet(word: str, counts: Counter[str]) -> str:
    """Put lookalikes right where a word is mostly of one alphabet and all its other letters are lookalikes."""
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
