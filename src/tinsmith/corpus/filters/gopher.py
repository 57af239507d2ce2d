"""Rules about words and repetition: Gopher (Rae et al. 2021, arXiv 2112.11446, appendix A).

Where the paper is open: a word is a token with a letter or digit; blank lines are no lines; of what is repeated
the first is not counted; a share of characters is one of all characters of the text; an n-gram that occurs once
is no repetition; English stop words are asked of English.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinsmith.corpus.filters.repeats import ngram_repeats, repeated_items
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
    Scan,
)
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import GopherConfig

_TOPS = {2: "top_bigram", 3: "top_trigram", 4: "top_fourgram"}
_REPEATS = {n: f"duplicate_{n}grams" for n in range(5, 11)}
# Reason of a drop -> the field of GopherConfig that causes it, in the order in which the rules are asked.
# QUALITY are those about words.
QUALITY = {
    "too_few_words": "min_words",
    "too_many_words": "max_words",
    "short_words": "min_mean_word_length",
    "long_words": "max_mean_word_length",
    "symbols": "max_symbol_word_ratio",
    "bullet_lines": "max_bullet_lines",
    "ellipsis_lines": "max_ellipsis_lines",
    "few_alphabetic_words": "min_alphabetic_words",
    "few_stop_words": "min_stop_words",
}
REASONS = QUALITY | {
    "duplicate_paragraphs": "max_duplicate_paragraphs",
    "duplicate_paragraph_characters": "max_duplicate_paragraph_characters",
    "duplicate_lines": "max_duplicate_lines",
    "duplicate_line_characters": "max_duplicate_line_characters",
    **{reason: f"max_{reason}" for reason in (*_TOPS.values(), *_REPEATS.values())},
}


def judge(scan: Scan, language: str, config: GopherConfig) -> Rejection | None:
    """Return the first rule that a text breaks, in the order of REASONS, or None."""
    return next(judge_quality(scan, language, config), None) or next(judge_repetition(scan, config), None)


def judge_quality(scan: Scan, language: str, config: GopherConfig) -> Iterator[Rejection]:
    """Yield each rule about words, marks and lines that a text breaks."""
    yield from _length_rules(scan, config)
    tokens, words, lines = len(scan.tokens), max(1, int(scan.counts[SPOKEN])), len(scan.lines)
    symbols = max(scan.counts[HASH_SIGNS], scan.counts[ELLIPSES]) / tokens
    if symbols > config.max_symbol_word_ratio:
        yield Rejection("symbols", f"{symbols:.2f} a word")
    bullets, ellipses = scan.counts[BULLETS] / lines, scan.counts[ELLIPSIS_LINES] / lines
    if bullets > config.max_bullet_lines:
        yield Rejection("bullet_lines", f"{bullets:.2f} of lines")
    if ellipses > config.max_ellipsis_lines:
        yield Rejection("ellipsis_lines", f"{ellipses:.2f} of lines")
    lettered = scan.counts[LETTERED] / words
    if lettered < config.min_alphabetic_words:
        yield Rejection("few_alphabetic_words", f"{lettered:.2f} of words")
    stop_words = int(scan.counts[STOP_WORDS]).bit_count()
    if language == "en" and stop_words < config.min_stop_words:
        yield Rejection("few_stop_words", f"{stop_words} of 8")


def _length_rules(scan: Scan, config: GopherConfig) -> Iterator[Rejection]:
    """Count of words and their mean length, which scripts without spaces between words do not have."""
    words, spaced = int(scan.counts[SPOKEN]), int(scan.counts[SPACED])
    if words < config.min_words:
        yield Rejection("too_few_words", f"{words} words")
    if words > config.max_words:
        yield Rejection("too_many_words", f"{words} words")
    if 2 * spaced <= words:
        return
    mean = scan.counts[SPACED_CHARACTERS] / spaced
    if mean < config.min_mean_word_length:
        yield Rejection("short_words", f"{mean:.2f} characters a word")
    if mean > config.max_mean_word_length:
        yield Rejection("long_words", f"{mean:.2f} characters a word")


def judge_repetition(scan: Scan, config: GopherConfig) -> Iterator[Rejection]:
    """Yield each rule about repeated paragraphs, lines and n-grams that a text breaks."""
    parts = (
        ("paragraph", scan.paragraphs, scan.paragraph_sizes),
        ("line", scan.lines, scan.line_sizes),
    )
    for part, items, sizes in parts:
        count, size = repeated_items(items, sizes)
        if count / len(items) > getattr(config, f"max_duplicate_{part}s"):
            yield Rejection(f"duplicate_{part}s", f"{count / len(items):.2f} of {part}s")
        if size / scan.characters > getattr(config, f"max_duplicate_{part}_characters"):
            yield Rejection(f"duplicate_{part}_characters", f"{size / scan.characters:.2f} of characters")
    found = ngram_repeats(scan.tokens, scan.token_sizes, max(_REPEATS))
    for n, reason in (_TOPS | _REPEATS).items():
        share = int(found[n]) / scan.characters
        if share > getattr(config, f"max_{reason}"):
            yield Rejection(reason, f"{share:.2f} of characters")
