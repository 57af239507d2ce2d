"""Passages of a long input: overlapping windows of whole sentences that together hold every character."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PARAGRAPH_END = re.compile(r"\s*\n\s*")
SENTENCE_END = re.compile(r"(?<=[.!?;])[\"')\]”’]*\s+")
WORD_END = re.compile(r"\s+")
OVERLAP = 0.25  # of a passage's tokens, at most: a span across a cut stands whole in the next passage
SLACK = 4  # tokens that a passage may have more when it is read on its own


@dataclass(frozen=True)
class Passage:
    """A part of an input, in characters."""

    start: int
    end: int


def passages(tokenizer: PreTrainedTokenizerFast, text: str, room: int) -> list[Passage]:
    """Cut a text into passages of at most `room` tokens, each from the start of a sentence where one fits.

    A text that fits is one passage. No character outside white space is in none.
    """
    encoded = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, verbose=False, return_offsets_mapping=True
    )
    starts = np.array([start for start, _ in encoded["offset_mapping"]], dtype=np.int64)
    if len(starts) <= room:
        return [Passage(0, len(text))]
    room -= SLACK
    breaks = [
        np.array([match.end() for match in pattern.finditer(text)], dtype=np.int64)
        for pattern in (PARAGRAPH_END, SENTENCE_END, WORD_END)
    ]
    found: list[Passage] = []
    begin = 0
    while True:
        token = max(0, int(np.searchsorted(starts, begin, side="right")) - 1)
        if len(starts) - token <= room:
            return [*found, Passage(begin, len(text))]
        limit = int(starts[token + room])
        end = _last(breaks, int(starts[token + room // 2]), limit) or limit
        found.append(Passage(begin, end))
        after = int(np.searchsorted(starts, end))  # the first token after the passage
        least = int(starts[max(token + 1, after - int(room * OVERLAP))])
        begin = _first(breaks[:2], least, end) or end


def _last(breaks: list[np.ndarray], low: int, high: int) -> int:
    """Return the last break in (low, high] of the first kind that has one, or 0."""
    for places in breaks:
        at = int(np.searchsorted(places, high, side="right")) - 1
        if at >= 0 and places[at] > low:
            return int(places[at])
    return 0


def _first(breaks: list[np.ndarray], low: int, high: int) -> int:
    """Return the first break in [low, high] of any kind, or 0."""
    ahead = [int(places[at]) for places in breaks if (at := int(np.searchsorted(places, low))) < len(places)]
    return min((place for place in ahead if place <= high), default=0)
