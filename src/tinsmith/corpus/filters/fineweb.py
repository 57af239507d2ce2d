"""Rules about the shape of lines: FineWeb (Penedo et al. 2024, arXiv 2406.17557, section 3.6)."""

from __future__ import annotations

import numpy as np

from tinsmith.corpus.filters.repeats import repeated_items
from tinsmith.corpus.filters.scan import BREAKS, PUNCTUATED_LINES, Scan
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import FineWebConfig

# Reason of a drop -> the field of FineWebConfig that causes it, in the order in which the rules are asked.
REASONS = {
    "few_punctuated_lines": "min_punctuated_lines",
    "short_lines": "max_short_lines",
    "repeated_lines": "max_duplicate_line_characters",
    "many_line_breaks": "max_line_breaks_per_word",
}


def judge(scan: Scan, config: FineWebConfig) -> Rejection | None:
    """Return the first rule that a text breaks, in the order of REASONS, or None."""
    lines, breaks = len(scan.lines), int(scan.counts[BREAKS])
    punctuated = scan.counts[PUNCTUATED_LINES] / lines
    if punctuated < config.min_punctuated_lines:
        return Rejection("few_punctuated_lines", f"{punctuated:.2f} of lines")
    short = np.count_nonzero(scan.line_sizes <= config.short_line) / lines
    if short > config.max_short_lines:
        return Rejection("short_lines", f"{short:.2f} of lines")
    repeated = repeated_items(scan.lines, scan.line_sizes)[1] / (scan.characters - breaks)
    if repeated > config.max_duplicate_line_characters:
        return Rejection("repeated_lines", f"{repeated:.2f} of characters")
    ratio = breaks / len(scan.tokens)
    if ratio > config.max_line_breaks_per_word:
        return Rejection("many_line_breaks", f"{ratio:.2f} a word")
    return None
