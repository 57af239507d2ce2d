"""How a rule is searched for: near cheap anchors only, so that text without hits costs little.

`str.find` passes a gigabyte a second, a regular expression some tens of megabytes. So each rule names literal
anchors, and its expression looks only into a window around each place where one stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tinsmith.corpus.privacy.types import Span

LETTER = r"[^\W\d_]"
UPPER = r"[A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽΑ-ΫА-Я]"


@dataclass(frozen=True)
class Rule:
    """A pattern near anchors; group 1, where there is one, is the value, which `check` may refuse."""

    name: str
    type: str
    anchors: tuple[str, ...]  # lower case; any case in the text will do
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    before: int = 0  # characters before the anchor where the pattern may begin
    after: int = 200  # characters after it where it must have ended


def rule(
    name: str,
    type: str,
    anchors: str,
    pattern: str,
    check: Callable[[str], bool] | None = None,
    *,
    before: int = 0,
    after: int = 200,
    any_case: bool = False,
) -> Rule:
    """Return a rule; anchors are parted by `|`, any_case is for the pattern."""
    flags = re.IGNORECASE if any_case else 0
    return Rule(name, type, tuple(anchors.split("|")), re.compile(pattern, flags), check, before, after)


def lowered(text: str) -> str:
    """Return a text in lower case, letter for letter: places in it are places in the text."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def search(rules: tuple[Rule, ...], text: str, lower: str) -> Iterator[Span]:
    """Yield what each rule finds, rule after rule; spans of one rule never overlap."""
    for each in rules:
        yield from _search_one(each, text, lower)


def _search_one(each: Rule, text: str, lower: str) -> Iterator[Span]:
    done, has_group = 0, each.pattern.groups > 0
    for place in _places(each.anchors, lower):
        if place < done:
            continue
        look = (
            each.pattern.search if each.before else each.pattern.match
        )  # a search would read on to the window's end
        found = look(text, max(done, place - each.before), min(len(text), place + each.after))
        if found is None or found.start() > place:
            continue
        start, end = found.span(1) if has_group and found.start(1) >= 0 else found.span()
        if start < end and (each.check is None or each.check(text[start:end])):
            done = end
            yield Span(start, end, each.type, each.name)


def near(
    pattern: re.Pattern[str], places: Iterable[int], text: str, before: int, after: int
) -> Iterator[re.Match[str]]:
    """Yield matches that lie within `before` and `after` characters of one of these places, which are in order.

    Windows that meet are searched as one, so each character is searched once.
    """
    start = end = 0
    for place in places:
        if place - before > end:
            if end:
                yield from pattern.finditer(text, start, end)
            start = place - before
        end = min(len(text), place + after)
    if end:
        yield from pattern.finditer(text, start, end)


def occurrences(anchors: tuple[str, ...], text: str) -> list[int]:
    """Return where these words stand, in order."""
    return sorted(place for anchor in anchors for place in _occurrences(anchor, text))


def _places(anchors: tuple[str, ...], lower: str) -> Iterator[int]:
    if len(anchors) == 1:
        yield from _occurrences(anchors[0], lower)
    else:
        yield from occurrences(anchors, lower)


def _occurrences(anchor: str, lower: str) -> Iterator[int]:
    place = lower.find(anchor)
    while place >= 0:
        yield place
        place = lower.find(anchor, place + 1)
