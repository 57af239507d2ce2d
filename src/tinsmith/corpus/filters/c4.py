"""Rules about lines and pages: C4 (Raffel et al. 2020, arXiv 1910.10683, section 2.2, and the code beside it).

Lines that break a rule go, and the text is what stays. Phrases are looked for in lines that the other rules let stay.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.filters.characters import ALPHANUMERIC, LETTER, SPACE, TERMINAL, UPPER, Kinds, kinds
from tinsmith.corpus.rejection import Rejection
from tinsmith.corpus.text.kernels import Codes, codes, compiled
from tinsmith.recipe import C4Config

# Reason of a drop -> the field of C4Config that causes it.
REASONS = {
    "bad_words": "bad_words",
    "lorem_ipsum": "lorem_ipsum",
    "curly_bracket": "curly_bracket",
    "too_few_sentences": "min_sentences",
}
_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_QUOTES = (0x22, 0x27, 0x201D, 0x2019, 0xBB)
_NEWLINE, _FULL_STOP = 0x0A, 0x2E
# Columns of a line's row.
START, END, WORDS, LONGEST, TERMINATED, SENTENCES, COLUMNS = range(7)


def judge(text: str, config: C4Config) -> tuple[str, Rejection | None]:
    """Return a text without the lines that go, and the rule that drops it as a whole, or None."""
    if config.bad_words:
        found = _pattern(config.bad_words).search(text)
        if found:
            return text, Rejection("bad_words", found.group().lower())
    whole = text
    if config.citations and "[" in text:
        text = _CITATION.sub("", text)
    rows = _read_lines(codes(text), kinds(), text.count("\n") + 1)
    stays = (rows[:, WORDS] >= config.min_words_per_line) & (rows[:, LONGEST] <= config.max_word_length)
    if config.terminal_punctuation:
        stays &= rows[:, TERMINATED] == 1
    phrases = _phrases(text, config)
    if phrases:
        drop = _judge_phrases(text, rows, stays, phrases)
        if drop:
            return whole, drop
    sentences = int(rows[stays, SENTENCES].sum())
    if sentences < config.min_sentences:
        return whole, Rejection("too_few_sentences", f"{sentences} sentences")
    if stays.all() and text is whole:
        return text, None
    return "\n".join(text[start:end] for start, end in rows[stays, : END + 1].tolist()), None


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)", re.IGNORECASE)


def _phrases(text: str, config: C4Config) -> dict[str, str]:
    """Return the phrases that a text holds, each with the reason for which it drops the document, or none."""
    asked = {"javascript": ""} if config.javascript else {}
    asked |= dict.fromkeys(_POLICIES, "") if config.policies else {}
    asked |= {"lorem ipsum": "lorem_ipsum"} if config.lorem_ipsum else {}
    asked |= {"{": "curly_bracket"} if config.curly_bracket else {}
    lowered = text.lower()
    return {phrase: reason for phrase, reason in asked.items() if phrase in lowered}


def _judge_phrases(
    text: str, rows: NDArray[np.int64], stays: NDArray[np.bool_], phrases: dict[str, str]
) -> Rejection | None:
    """Mark the lines that a phrase takes out, and return the first drop that one causes."""
    for number in np.flatnonzero(stays):
        line = text[rows[number, START] : rows[number, END]].lower()
        for phrase, reason in phrases.items():
            if phrase in line:
                if reason:
                    return Rejection(reason, f"line {number + 1}")
                stays[number] = False
    return None


@compiled
def _ends_sentence(characters: Codes, kinds: Kinds, place: int) -> bool:
    """Return whether a mark ends a sentence: none amid a word, nor the full stop of an initial."""
    if not kinds[characters[place]] & TERMINAL:
        return False
    before = kinds[characters[place - 1]] if place else np.uint16(SPACE)
    if before & LETTER and before & UPPER and characters[place] == _FULL_STOP:
        return place > 1 and (kinds[characters[place - 2]] & LETTER) != 0
    inside = place + 1 < len(characters) and (kinds[characters[place + 1]] & ALPHANUMERIC) != 0
    return not inside or characters[place] > 0x7F


@compiled
def _read_lines(characters: Codes, kinds: Kinds, count: int) -> NDArray[np.int64]:
    """Return a row of COLUMNS per line: its place without outer space, words, longest, ends, sentences."""
    rows = np.zeros((count, COLUMNS), np.int64)
    place, length = 0, len(characters)
    for line in range(count):
        start, end, word, words, longest, sentences, open_sentence = -1, place, 0, 0, 0, 0, False
        while place < length and characters[place] != _NEWLINE:
            kind = kinds[characters[place]]
            if kind & SPACE:
                word = 0
            else:
                if start < 0:
                    start = place
                words += word == 0
                word += 1
                end, longest = place + 1, max(longest, word)
                if kind & ALPHANUMERIC:
                    open_sentence = True
                elif open_sentence and _ends_sentence(characters, kinds, place):
                    sentences, open_sentence = sentences + 1, False
            place += 1
        place += 1
        if start >= 0:
            row = rows[line]
            row[START], row[END], row[WORDS], row[LONGEST] = start, end, words, longest
            row[TERMINATED] = _ends_well(characters, kinds, start, end)
            row[SENTENCES] = sentences + open_sentence
    return rows


@compiled
def _ends_well(characters: Codes, kinds: Kinds, start: int, end: int) -> bool:
    """Return whether a line ends a sentence or a quotation, an ellipsis being no end."""
    last = characters[end - 1]
    if end - start >= 3 and last == _FULL_STOP:
        return not (characters[end - 2] == _FULL_STOP and characters[end - 3] == _FULL_STOP)
    return (kinds[last] & TERMINAL) != 0 or last in _QUOTES
