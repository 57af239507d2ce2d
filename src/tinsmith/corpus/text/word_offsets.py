"""A text's words with their places in the text as it stands."""

from __future__ import annotations

import re

import numpy as np

from tinsmith.corpus.text.kernels import Words, fold_words

_WORD = re.compile(r"[^\W_]+")


def locate_words(text: str) -> Words:
    """Return the hashes of a text's folded words, and where each starts and ends in the text (N,)."""
    if text.isascii():
        return fold_words(text)
    pieces: list[Words] = []
    place = 0
    for line in text.splitlines(keepends=True):
        found = fold_words(line) if line.isascii() else _by_word(line)
        pieces.append(Words(found.hashes, found.starts + place, found.ends + place))
        place += len(line)
    return Words(*(np.concatenate(columns) for columns in zip(*pieces, strict=True)))


def _by_word(line: str) -> Words:
    """Fold each word alone, since folding may lengthen what stands before it; a word may fold into several."""
    hashes, starts, ends = [np.empty(0, np.uint64)], [], []
    for word in _WORD.finditer(line):
        found = fold_words(word[0]).hashes
        hashes.append(found)
        starts += [word.start()] * len(found)
        ends += [word.end()] * len(found)
    return Words(np.concatenate(hashes), np.array(starts, np.int64), np.array(ends, np.int64))
