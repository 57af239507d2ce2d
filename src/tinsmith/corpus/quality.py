"""Fixed rules that a document must pass: Gopher's (Rae et al. 2021, arXiv 2112.11446, appendix A).

Left out: the rule that two of eight English words must occur (it would refuse every other language), and the
repetition rules whose threshold the recipe does not hold (paragraphs, 5- to 10-grams). The paper defines the
rules in words; where it is open, this file says how it reads them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from tinsmith.corpus.drop import Drop
from tinsmith.recipe import CurateConfig

BULLETS = tuple("•‣⁃◦▪▫■□●○-")
ELLIPSES = ("...", "…")
# Reason of a drop -> the field of CurateConfig that causes it. The order is that of the funnel.
REASONS = {
    "too_few_words": "min_words",
    "too_many_words": "max_words",
    "short_words": "min_mean_word_length",
    "long_words": "max_mean_word_length",
    "symbols": "max_symbol_word_ratio",
    "bullet_lines": "max_bullet_lines",
    "ellipsis_lines": "max_ellipsis_lines",
    "few_alphabetic_words": "min_alphabetic_words",
    "duplicate_lines": "max_duplicate_line_characters",
    "top_bigram": "max_top_bigram",
    "top_trigram": "max_top_trigram",
    "top_fourgram": "max_top_fourgram",
}


def judge(text: str, config: CurateConfig) -> Drop | None:
    """Return the first rule that a text breaks, in the order of REASONS, or None if it may stay."""
    words = text.split()
    if not words:
        return Drop("empty", "no words")
    counts = Counter(words)
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    rules = itertools.chain(
        _length_rules(counts, config),
        _symbol_rules(text, counts, config),
        _line_rules(lines, config),
        _letter_rules(counts, config),
        _repeat_rules(words, lines, config),
    )
    return next(rules, None)


def _length_rules(words: Counter[str], config: CurateConfig) -> Iterator[Drop]:
    """Count and mean length of words; a ruler of dashes or a lone bullet is no word."""
    spoken = {word: count for word, count in words.items() if word.isalpha() or any(map(str.isalnum, word))}
    total = sum(spoken.values())
    mean = sum(len(word) * count for word, count in spoken.items()) / max(1, total)
    if total < config.min_words:
        yield Drop("too_few_words", f"{total} words")
    if total > config.max_words:
        yield Drop("too_many_words", f"{total} words")
    if mean < config.min_mean_word_length:
        yield Drop("short_words", f"{mean:.2f} characters a word")
    if mean > config.max_mean_word_length:
        yield Drop("long_words", f"{mean:.2f} characters a word")


def _symbol_rules(text: str, words: Counter[str], config: CurateConfig) -> Iterator[Drop]:
    """Hash signs per word and ellipses per word, each for itself."""
    ratio = max(text.count("#"), sum(map(text.count, ELLIPSES))) / words.total()
    if ratio > config.max_symbol_word_ratio:
        yield Drop("symbols", f"{ratio:.2f} a word")


def _line_rules(lines: list[str], config: CurateConfig) -> Iterator[Drop]:
    """How lines begin and end; blank ones do not count."""
    bullets = sum(line.startswith(BULLETS) for line in lines) / len(lines)
    ellipses = sum(line.endswith(ELLIPSES) for line in lines) / len(lines)
    if bullets > config.max_bullet_lines:
        yield Drop("bullet_lines", f"{bullets:.2f} of lines")
    if ellipses > config.max_ellipsis_lines:
        yield Drop("ellipsis_lines", f"{ellipses:.2f} of lines")


def _letter_rules(words: Counter[str], config: CurateConfig) -> Iterator[Drop]:
    lettered = sum(count for word, count in words.items() if word.isalpha() or any(map(str.isalpha, word)))
    share = lettered / words.total()
    if share < config.min_alphabetic_words:
        yield Drop("few_alphabetic_words", f"{share:.2f} of words")


def _repeat_rules(words: list[str], lines: list[str], config: CurateConfig) -> Iterator[Drop]:
    repeated = duplicate_line_share(lines)
    if repeated > config.max_duplicate_line_characters:
        yield Drop("duplicate_lines", f"{repeated:.2f} of characters")
    limits = (config.max_top_bigram, config.max_top_trigram, config.max_top_fourgram)
    for n, name, limit in zip((2, 3, 4), ("top_bigram", "top_trigram", "top_fourgram"), limits, strict=True):
        share = top_ngram_share(words, n)
        if share > limit:
            yield Drop(name, f"{share:.2f} of characters")


def duplicate_line_share(lines: list[str]) -> float:
    """Return the share of characters in lines that already stood above, the first of each not counted."""
    total = sum(map(len, lines))
    return 1.0 - sum(map(len, set(lines))) / total if total else 0.0


def top_ngram_share(words: list[str], n: int) -> float:
    """Return the share of characters (white space apart) in the commonest n-gram of words.

    Of several that are equally common the longest counts. One that occurs once only is no repetition: 0.
    """
    counts = Counter(zip(*(words[k:] for k in range(n)), strict=False))
    most = max(counts.values(), default=0)
    if most < 2:
        return 0.0
    longest = max(sum(map(len, gram)) for gram, count in counts.items() if count == most)
    return min(1.0, most * longest / sum(map(len, words)))  # its own occurrences may overlap
