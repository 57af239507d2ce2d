"""C4's rules about lines and pages (Raffel et al. 2020, arXiv 1910.10683, section 2.2, and its published code).

Lines that break a rule are removed. Phrases are looked for only in lines that pass the other rules.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.filters.characters import ALPHANUMERIC, LETTER, SPACE, TERMINAL, UPPER, Flags, flags
from tinsmith.corpus.filters.scan import ScannedText, scan_text
from tinsmith.corpus.rejection import Rejection
from tinsmith.corpus.text.kernels import Codes, codes, compiled
from tinsmith.recipe import C4Config, CurateConfig

REASONS = {
    "bad_words": "c4.bad_words",
    "lorem_ipsum": "c4.lorem_ipsum",
    "curly_bracket": "c4.curly_bracket",
    "too_few_sentences": "c4.min_sentences",
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
# Columns of a line.
START, END, WORDS, LONGEST, TERMINATED, SENTENCES, COLUMNS = range(7)


def apply(document: ScannedText, config: CurateConfig) -> ScannedText | Rejection:
    """Return the document without the lines that break a rule, or the rule that rejects it as a whole."""
    left = filter_lines(document.text, config.c4)
    if isinstance(left, Rejection):
        return left
    return document if left is document.text else scan_text(left, document.language)


def filter_lines(text: str, config: C4Config) -> str | Rejection:
    """Return a text without the lines that break a rule, or the rule that rejects it; the same object if none does."""
    if config.bad_words:
        found = _pattern(config.bad_words).search(text)
        if found:
            return Rejection("bad_words", found.group().lower())
    whole = text
    if config.citations and "[" in text:
        text = _CITATION.sub("", text)
    rows = _read_lines(codes(text), flags(), text.count("\n") + 1)
    stays = (rows[:, WORDS] >= config.min_words_per_line) & (rows[:, LONGEST] <= config.max_word_length)
    if config.terminal_punctuation:
        stays &= rows[:, TERMINATED] == 1
    phrases = _phrases(text, config)
    if phrases:
        rejection = _find_phrases(text, rows, stays, phrases)
        if rejection:
            return rejection
    sentences = int(rows[stays, SENTENCES].sum())
    if sentences < config.min_sentences:
        return Rejection("too_few_sentences", f"{sentences} sentences")
    if stays.all() and text is whole:
        return text
    return "\n".join(text[start:end] for start, end in rows[stays, : END + 1].tolist())


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)", re.IGNORECASE)


def _phrases(text: str, config: C4Config) -> dict[str, str]:
    """Return the phrases that a text holds, each with the reason for which it drops the document, or none."""
    unwanted = {"javascript": ""} if config.javascript else {}
    unwanted |= dict.fromkeys(_POLICIES, "") if config.policies else {}
    unwanted |= {"lorem ipsum": "lorem_ipsum"} if config.lorem_ipsum else {}
    unwanted |= {"{": "curly_bracket"} if config.curly_bracket else {}
    lowered = text.lower()
    return {phrase: reason for phrase, reason in unwanted.items() if phrase in lowered}


def _find_phrases(
    text: str, rows: NDArray[np.int64], stays: NDArray[np.bool_], phrases: dict[str, str]
) -> Rejection | None:
    """Unmark the lines that a phrase removes; return the first rejection that a phrase causes."""
    for number in np.flatnonzero(stays):
        line = text[rows[number, START] : rows[number, END]].lower()
        for phrase, reason in phrases.items():
            if phrase in line:
                if reason:
                    return Rejection(reason, f"line {number + 1}")
                stays[number] = False
    return None


@compiled
def _ends_sentence(characters: Codes, flags: Flags, position: int) -> bool:
    """Return whether a mark ends a sentence: not inside a word, and not the full stop of an initial."""
    if not flags[characters[position]] & TERMINAL:
        return False
    before = flags[characters[position - 1]] if position else np.uint16(SPACE)
    if before & LETTER and before & UPPER and characters[position] == _FULL_STOP:
        return position > 1 and (flags[characters[position - 2]] & LETTER) != 0
    inside = position + 1 < len(characters) and (flags[characters[position + 1]] & ALPHANUMERIC) != 0
    return not inside or characters[position] > 0x7F


@compiled
def _read_lines(characters: Codes, flags: Flags, count: int) -> NDArray[np.int64]:
    """Return the COLUMNS of each line (L, COLUMNS); START and END leave out surrounding white space."""
    rows = np.zeros((count, COLUMNS), np.int64)
    position, length = 0, len(characters)
    for line in range(count):
        start, end, word, words, longest, sentences, open_sentence = -1, position, 0, 0, 0, 0, False
        while position < length and characters[position] != _NEWLINE:
            kind = flags[characters[position]]
            if kind & SPACE:
                word = 0
            else:
                if start < 0:
                    start = position
                words += word == 0
                word += 1
                end, longest = position + 1, max(longest, word)
                if kind & ALPHANUMERIC:
                    open_sentence = True
                elif open_sentence and _ends_sentence(characters, flags, position):
                    sentences, open_sentence = sentences + 1, False
            position += 1
        position += 1
        if start >= 0:
            row = rows[line]
            row[START], row[END], row[WORDS], row[LONGEST] = start, end, words, longest
            row[TERMINATED] = _ends_well(characters, flags, start, end)
            row[SENTENCES] = sentences + open_sentence
    return rows


@compiled
def _ends_well(characters: Codes, flags: Flags, start: int, end: int) -> bool:
    """Return whether a line ends a sentence or a quotation; an ellipsis does not."""
    last = characters[end - 1]
    if end - start >= 3 and last == _FULL_STOP:
        return not (characters[end - 2] == _FULL_STOP and characters[end - 3] == _FULL_STOP)
    return (flags[last] & TERMINAL) != 0 or last in _QUOTES
