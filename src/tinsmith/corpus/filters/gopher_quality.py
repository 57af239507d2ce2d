"""Gopher's rules about words, symbols and lines (Rae et al. 2021, arXiv 2112.11446, appendix A).

Where the paper is silent: a word is a token with a letter or digit, blank lines do not count, and the rule about
English stop words applies to English alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinsmith.corpus.filters.scan import (
    BULLETS,
    ELLIPSES,
    ELLIPSIS_LINES,
    HASH_SIGNS,
    LETTERED,
    SPACED,
    SPACED_CHARACTERS,
    SPOKEN,
    STOP_WORDS,
    ScannedText,
)
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import CurateConfig, GopherConfig

REASONS = {
    "too_few_words": "gopher.min_words",
    "too_many_words": "gopher.max_words",
    "short_words": "gopher.min_mean_word_length",
    "long_words": "gopher.max_mean_word_length",
    "symbols": "gopher.max_symbol_word_ratio",
    "bullet_lines": "gopher.max_bullet_lines",
    "ellipsis_lines": "gopher.max_ellipsis_lines",
    "few_alphabetic_words": "gopher.min_alphabetic_words",
    "few_stop_words": "gopher.min_stop_words",
}


def apply(document: ScannedText, config: CurateConfig) -> ScannedText | Rejection:
    """Return the document, or the first rule that it breaks."""
    return next(find_rejections(document, config.gopher), document)


def find_rejections(document: ScannedText, config: GopherConfig) -> Iterator[Rejection]:
    """Yield each rule that a document breaks."""
    yield from _length_rejections(document, config)
    counts, lines = document.counts, len(document.lines)
    symbols = max(counts[HASH_SIGNS], counts[ELLIPSES]) / len(document.tokens)
    if symbols > config.max_symbol_word_ratio:
        yield Rejection("symbols", f"{symbols:.2f} a word")
    bullets, ellipses = counts[BULLETS] / lines, counts[ELLIPSIS_LINES] / lines
    if bullets > config.max_bullet_lines:
        yield Rejection("bullet_lines", f"{bullets:.2f} of lines")
    if ellipses > config.max_ellipsis_lines:
        yield Rejection("ellipsis_lines", f"{ellipses:.2f} of lines")
    alphabetic = counts[LETTERED] / max(1, int(counts[SPOKEN]))
    if alphabetic < config.min_alphabetic_words:
        yield Rejection("few_alphabetic_words", f"{alphabetic:.2f} of words")
    stop_words = int(counts[STOP_WORDS]).bit_count()
    if document.language == "en" and stop_words < config.min_stop_words:
        yield Rejection("few_stop_words", f"{stop_words} of 8")


def _length_rejections(document: ScannedText, config: GopherConfig) -> Iterator[Rejection]:
    words, spaced = int(document.counts[SPOKEN]), int(document.counts[SPACED])
    if words < config.min_words:
        yield Rejection("too_few_words", f"{words} words")
    if words > config.max_words:
        yield Rejection("too_many_words", f"{words} words")
    if 2 * spaced <= words:  # a script without spaces between words has no word lengths
        return
    mean = document.counts[SPACED_CHARACTERS] / spaced
    if mean < config.min_mean_word_length:
        yield Rejection("short_words", f"{mean:.2f} characters a word")
    if mean > config.max_mean_word_length:
        yield Rejection("long_words", f"{mean:.2f} characters a word")
