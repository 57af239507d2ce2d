"""Rules for payment cards: digits in one piece or in an issuer's groups, whatever parts them, that pass Luhn."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinsmith.corpus.privacy import checks
from tinsmith.corpus.privacy.rules import occurrences
from tinsmith.corpus.privacy.types import Span

CARD_WORDS = r"\b(?:card|cc|visa|mastercard|amex|credit|debit)\b"
# One separator: a blank, a sign that may stand between blanks, or the end of a line that a program wrapped.
_PART = r"(?: ?[./_·•—-] ?| |-?[ ]?\r?\n[> ]{0,3})"
_BEFORE = r"(?<![^\W_].)(?<![$€£¥+].)(?<![0-9]\..)"  # of the first digit, which the dot stands for
_START = re.compile(
    rf"[1-9]{_BEFORE}(?:[0-9]{{11,18}}(?![^\W_])|[0-9]{{3}}(?={_PART}[0-9]{{4,6}}{_PART}[0-9])|[0-9]{{5}}(?={_PART}[0-9]{{13}}))"
)
_SIZES = (
    ("", (4, 4, 4, 4)),
    ("(?=3)", (4, 6, 5)),
    ("(?=3)", (4, 6, 4)),
    ("", (4, 4, 4, 4, 3)),
    ("", (6, 13)),
)
_GROUPED = tuple(
    re.compile(issuer + _PART.join(f"[0-9]{{{size}}}" for size in sizes)) for issuer, sizes in _SIZES
)
# Other groups, and more line ends, need a word for a card before them, since tables have numbers beside each other.
_ANCHORS = ("card", "visa", "amex", "credit", "debit", "cc")
_AFTER_WORD = re.compile(rf"(?:card|visa|amex|credit|debit|\bcc)\b[^!?0-9]{{0,30}}[1-9]{_BEFORE}")
_UNEVEN = re.compile(rf"[0-9](?:{_PART}?[0-9]){{12,18}}")
_LINE_ENDS = 3
_NO_END = re.compile(r"[^\W_]|%|\.[0-9]*[1-9]")
_FOURS_AFTER = re.compile(r"(?:[ -][0-9]{4}(?![0-9])){0,40}")
_FOURS_BEFORE = re.compile(r"(?<![0-9])(?:[0-9]{4}[ -])+$")
_TABLE = 2  # further groups of four digits beside a number that make a table of it
_STRICT = 12  # digits that are too few to count beside a hyphen, as at the end of a UUID


def find_cards(text: str, lower: str) -> Iterator[Span]:
    """Yield payment card numbers."""
    done = 0
    for match in _START.finditer(text):
        if match.start() >= done and (end := _end_of_card(text, match)) is not None:
            done = end
            yield Span(match.start(), end, "payment_card", "card")
    for position in occurrences(_ANCHORS, lower):
        word = _AFTER_WORD.match(lower, position)
        if word and (end := _end_of_uneven(text, word.end() - 1)) is not None:
            yield Span(word.end() - 1, end, "payment_card", "card_uneven")


def _end_of_card(text: str, first: re.Match[str]) -> int | None:
    """Return where the card number ends that begins with these digits, if one does."""
    start, size = first.start(), len(first.group())
    if size >= _STRICT:
        is_card = _is_card(text, start, first.end()) and (size > _STRICT or text[start - 1 : start] != "-")
        return first.end() if is_card else None
    for form in _GROUPED:
        match = form.match(text, start)
        if match is None or match.group().count("\n") > 1:
            continue
        if _is_card(text, start, match.end()) and not _in_table(text, start, match.end()):
            return match.end()
    return None


def _end_of_uneven(text: str, start: int) -> int | None:
    """Return where a card number ends whose groups have any size."""
    match = _UNEVEN.match(text, start)
    while match:
        if match.group().count("\n") <= _LINE_ENDS and _is_card(text, start, match.end()):
            return match.end()
        match = _UNEVEN.match(text, start, match.end() - 1)
    return None


def _is_card(text: str, start: int, end: int) -> bool:
    return not _NO_END.match(text, end) and checks.payment_card(text[start:end])


def _in_table(text: str, start: int, end: int) -> bool:
    """Return whether so many groups of four digits stand beside a number that some pass by chance.

    A card among others is none of them: what stands before and after it are numbers of four groups too.
    """
    before, after = _FOURS_BEFORE.search(text, max(0, start - 200), start), _FOURS_AFTER.match(text, end)
    fours = [len(match.group()) // 5 if match else 0 for match in (before, after)]
    if sum(fours) < _TABLE:
        return False
    following = _GROUPED[0].match(text, end + 1)
    return any(count % 4 for count in fours) or (
        fours[1] > 0 and not (following and checks.payment_card(following.group()))
    )
