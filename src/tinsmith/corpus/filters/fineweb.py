"""FineWeb's rules about the shape of lines (Penedo et al. 2024, arXiv 2406.17557, section 3.6)."""

from __future__ import annotations

import numpy as np

from tinsmith.corpus.filters.repeats import repeated_items
from tinsmith.corpus.filters.scan import BREAKS, PUNCTUATED_LINES, ScannedText
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import CurateConfig

REASONS = {
    "few_punctuated_lines": "fineweb.min_punctuated_lines",
    "short_lines": "fineweb.max_short_lines",
    "repeated_lines": "fineweb.max_duplicate_line_characters",
    "many_line_breaks": "fineweb.max_line_breaks_per_word",
}


def apply(document: ScannedText, config: CurateConfig) -> ScannedText | Rejection:
    """Return the document, or the first rule that it breaks."""
    limits, lines, breaks = config.fineweb, len(document.lines), int(document.counts[BREAKS])
    punctuated = document.counts[PUNCTUATED_LINES] / lines
    if punctuated < limits.min_punctuated_lines:
        return Rejection("few_punctuated_lines", f"{punctuated:.2f} of lines")
    short = np.count_nonzero(document.line_sizes <= limits.short_line) / lines
    if short > limits.max_short_lines:
        return Rejection("short_lines", f"{short:.2f} of lines")
    repeated = repeated_items(document.lines, document.line_sizes)[1] / (len(document.text) - breaks)
    if repeated > limits.max_duplicate_line_characters:
        return Rejection("repeated_lines", f"{repeated:.2f} of characters")
    ratio = breaks / len(document.tokens)
    if ratio > limits.max_line_breaks_per_word:
        return Rejection("many_line_breaks", f"{ratio:.2f} a word")
    return document
