"""Rules, and how they are searched for: only near literal anchors, so that text without hits costs little.

`str.find` reads a gigabyte per second, a regular expression some tens of megabytes. So each rule names literal
anchors, and its pattern is applied only to a window around each of them.
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
    """A pattern near anchors. Group 1, or else the whole match, is the value, which `check` may reject."""

    name: str
    type: str
    anchors: tuple[str, ...]  # lower case; the text may have any case
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    before: int = 0  # characters before the anchor from where the pattern may begin
    after: int = 200  # characters after the anchor until which it must end


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
    """Return a rule; anchors are separated by `|`, any_case applies to the pattern."""
    flags = re.IGNORECASE if any_case else 0
    return Rule(name, type, tuple(anchors.split("|")), re.compile(pattern, flags), check, before, after)


def lowered(text: str) -> str:
    """Return a text in lower case with the same length, so that offsets stay valid."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


def search(rules: tuple[Rule, ...], text: str, lower: str) -> Iterator[Span]:
    """Yield the spans of each rule in turn; spans of one rule never overlap."""
    for rule in rules:
        yield from _search_rule(rule, text, lower)


def _search_rule(rule: Rule, text: str, lower: str) -> Iterator[Span]:
    done, has_group = 0, rule.pattern.groups > 0
    # Where the match must begin at the anchor, search() would read on to the window's end.
    find = rule.pattern.search if rule.before else rule.pattern.match
    for anchor in occurrences(rule.anchors, lower):
        if anchor < done:
            continue
        match = find(text, max(done, anchor - rule.before), min(len(text), anchor + rule.after))
        if match is None or match.start() > anchor:
            continue
        start, end = match.span(1) if has_group and match.start(1) >= 0 else match.span()
        if start < end and (rule.check is None or rule.check(text[start:end])):
            done = end
            yield Span(start, end, rule.type, rule.name)


def search_near(
    pattern: re.Pattern[str], positions: Iterable[int], text: str, before: int, after: int
) -> Iterator[re.Match[str]]:
    """Yield matches within `before` and `after` characters of one of the positions, which are sorted.

    Windows that touch are searched as one, so each character is searched once.
    """
    start = end = 0
    for position in positions:
        if position - before > end:
            if end:
                yield from pattern.finditer(text, start, end)
            start = position - before
        end = min(len(text), position + after)
    if end:
        yield from pattern.finditer(text, start, end)


def occurrences(anchors: tuple[str, ...], text: str) -> list[int]:
    """Return the positions of all anchors in a text, sorted."""
    return sorted(position for anchor in anchors for position in _occurrences(anchor, text))


def _occurrences(anchor: str, text: str) -> Iterator[int]:
    position = text.find(anchor)
    while position >= 0:
        yield position
        position = text.find(anchor, position + 1)
