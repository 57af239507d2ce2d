"""Verbatim spans: where a text holds an answer, white space folded; what no text holds is never a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinsmith.jobs.ask import NONE, SEPARATOR
from tinsmith.jobs.schema import Field
from tinsmith.jobs.values import normalise

SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]”’]*\s+|\n\s*\n\s*")


@dataclass(frozen=True)
class Value:
    """A value of a field: the text as it stands, its place in characters, and what it says in the schema's type.

    `normal` is None where the text does not say it beyond doubt; `note` then says why.
    """

    text: str
    start: int
    end: int
    confidence: float = 1.0
    normal: Any = None
    note: str = ""
    ask_a_person: bool = False  # it is less sure than the job gives

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def fold(text: str) -> str:
    """Return a text with each run of white space as one space, none at its ends."""
    return " ".join(text.split())


class FoldedText:
    """A text with its white space folded, which knows where each character stood."""

    def __init__(self, text: str) -> None:
        self.original = text
        self.text = fold(text)

    @cached_property
    def _words(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each word begins, in the folded text and in the original."""
        words = list(re.finditer(r"\S+", self.original))
        lengths = np.array([len(match.group()) + 1 for match in words])
        return np.cumsum(lengths) - lengths, np.array([match.start() for match in words])

    def places(self, span: str) -> list[tuple[int, int]]:
        """Return every place (start, end) of a span in the original; [] where the text does not hold it.

        A span begins and ends between words or marks, never within a word or a number.
        """
        wanted = fold(span)
        found, at = [], self.text.find(wanted) if wanted else -1
        while at >= 0:
            if whole(self.text, at, at + len(wanted)):
                found.append((self._original(at), self._original(at + len(wanted) - 1) + 1))
            at = self.text.find(wanted, at + 1)
        return found

    def find(self, span: str) -> str:
        """Return a span as the original writes it first, its case too; empty where it does not hold it."""
        places = self.places(span)
        if not places and len(self.original.lower()) == len(self.original):
            places = FoldedText(self.original.lower()).places(span.lower())
        return self.original[places[0][0] : places[0][1]] if places else ""

    def _original(self, place: int) -> int:
        """Return where a character of a word stands in the original."""
        folded, original = self._words
        word = int(np.searchsorted(folded, place, side="right")) - 1
        return int(original[word]) + place - int(folded[word])


def whole(text: str, start: int, end: int) -> bool:
    """Say whether neither end of a span parts a word, or a number such as 1,234.5."""
    return not (_joined(text, start) or _joined(text, end))


def _joined(text: str, place: int) -> bool:
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if before.isalnum() and after.isalnum():
        return True
    # A separator between digits belongs to the number.
    digits = (
        text[place - 2 : place - 1].isdigit() and before in ".,",
        after in ".," and text[place + 1 : place + 2].isdigit(),
    )
    return (digits[0] and after.isdigit()) or (before.isdigit() and digits[1])


def listed_spans(spans: Sequence[str]) -> str:
    """Write the spans of a field as one answer."""
    return SEPARATOR.join(dict.fromkeys(map(fold, spans))) or NONE


def read_spans(reply: str, text: FoldedText, field: Field) -> tuple[list[tuple[str, int, int]], str]:
    """Return the spans (text, start, end) of an answer that the text holds, and why others are left out.

    "; " parts the values of a list, so no value of a list has it within.
    """
    wanted = fold(reply)
    if not wanted or wanted == NONE:
        return [], ""
    parts = [part for part in wanted.split(SEPARATOR) if part] if field.several else [wanted]
    spans, left_out = [], []
    for part in dict.fromkeys(parts):
        places = text.places(part)
        if places:
            start, end = places[0]
            spans.append((text.original[start:end], start, end))
        else:
            left_out.append(part)
    reason = f"not in the text: {SEPARATOR.join(left_out)}" if left_out else ""
    return spans, reason


def value_of(field: Field, span: tuple[str, int, int], *, offset: int, confidence: float) -> Value:
    """Return a span of a passage, which begins at `offset` of the input, as a value of a field."""
    text, start, end = span
    normal, note = normalise(field, fold(text))
    return Value(text, start + offset, end + offset, confidence, normal, note)


def sentence_around(text: str, start: int, end: int) -> str:
    """Return the sentence or sentences of a text that hold a place."""
    begin, finish = 0, len(text)
    for match in SENTENCE_END.finditer(text):
        if match.end() <= start:
            begin = match.end()
        elif match.start() >= end:
            finish = match.start() + len(match.group().rstrip())
            break
    return text[begin:finish].strip()
