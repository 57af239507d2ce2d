"""All rules of Gopher (Rae et al. 2021, arXiv 2112.11446): those of gopher_quality, then about repetition.

Where the paper is silent: the first occurrence of what repeats does not count, shares are of all characters of the
text, and an n-gram that occurs once is not a repetition.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tinsmith.corpus.filters import gopher_quality
from tinsmith.corpus.filters.repeats import ngram_repeats, repeated_items
from tinsmith.corpus.filters.scan import ScannedText
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import CurateConfig, GopherConfig

_NGRAMS = {2: "top_bigram", 3: "top_trigram", 4: "top_fourgram"} | {
    n: f"duplicate_{n}grams" for n in range(5, 11)
}
REPETITION = {
    reason: f"gopher.max_{reason}"
    for reason in (
        "duplicate_paragraphs",
        "duplicate_paragraph_characters",
        "duplicate_lines",
        "duplicate_line_characters",
        *_NGRAMS.values(),
    )
}
REASONS = gopher_quality.REASONS | REPETITION


def apply(document: ScannedText, config: CurateConfig) -> ScannedText | Rejection:
    """Return the document, or the first rule that it breaks."""
    return next(
        itertools.chain(
            gopher_quality.find_rejections(document, config.gopher), find_repetition(document, config.gopher)
        ),
        document,
    )


def find_repetition(document: ScannedText, config: GopherConfig) -> Iterator[Rejection]:
    """Yield each rule about repeated paragraphs, lines and n-grams that a document breaks."""
    parts = (
        ("paragraph", document.paragraphs, document.paragraph_sizes),
        ("line", document.lines, document.line_sizes),
    )
    characters = len(document.text)
    for part, items, sizes in parts:
        count, size = repeated_items(items, sizes)
        if count / len(items) > getattr(config, f"max_duplicate_{part}s"):
            yield Rejection(f"duplicate_{part}s", f"{count / len(items):.2f} of {part}s")
        if size / characters > getattr(config, f"max_duplicate_{part}_characters"):
            yield Rejection(f"duplicate_{part}_characters", f"{size / characters:.2f} of characters")
    repeats = ngram_repeats(document.tokens, document.token_sizes, max(_NGRAMS))
    for n, reason in _NGRAMS.items():
        share = int(repeats[n]) / characters
        if share > getattr(config, f"max_{reason}"):
            yield Rejection(reason, f"{share:.2f} of characters")
