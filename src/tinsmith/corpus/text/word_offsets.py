"""Find the words of a text with their offsets in the original text."""

from __future__ import annotations

import re

import numpy as np

from tinsmith.corpus.text.kernels import Words, fold_words

_WORD = re.compile(r"[^\W_]+")


def locate_words(text: str) -> Words:
    """Return the folded words of a text; their offsets are those of the text itself."""
    if text.isascii():
        return fold_words(text)
    pieces: list[Words] = []
    offset = 0
    for line in text.splitlines(keepends=True):
        words = fold_words(line) if line.isascii() else _by_word(line)
        pieces.append(Words(words.hashes, words.starts + offset, words.ends + offset))
        offset += len(line)
    return Words(*(np.concatenate(columns) for columns in zip(*pieces, strict=True)))


def _by_word(line: str) -> Words:
    """Fold each word by itself, since folding may change the length of what precedes it or split a word."""
    hashes, starts, ends = [np.empty(0, np.uint64)], [], []
    for word in _WORD.finditer(line):
        words = fold_words(word[0]).hashes
        hashes.append(words)
        starts += [word.start()] * len(words)
        ends += [word.end()] * len(words)
    return Words(np.concatenate(hashes), np.array(starts, np.int64), np.array(ends, np.int64))
