"""How right an answer is: spans by their words, answers by what they say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tinsmith.jobs.spans import fold
from tinsmith.jobs.values import read_number

ARTICLES = re.compile(r"\b(a|an|the)\b")


def comparable(text: str) -> str:
    """Return a text without case, punctuation, articles and runs of white space, as SQuAD compares answers."""
    kept = "".join(c if c.isalnum() or c.isspace() else " " if c in "-–—/" else "" for c in text.casefold())
    return fold(ARTICLES.sub(" ", kept))


def exact_match(given: str, right: str) -> bool:
    """Say whether two answers are the same: as numbers if both are one, else without case and punctuation."""
    numbers = [read_number(text)[0] if _is_figure(text) else None for text in (given, right)]
    if None not in numbers:
        return numbers[0] == numbers[1]
    return comparable(given) == comparable(right)


def span_f1(given: str, right: str) -> float:
    """Return the F1 of the words of two spans (Rajpurkar et al. 2016, arXiv 1606.05250), 0 to 1."""
    words, wanted = comparable(given).split(), comparable(right).split()
    if not words or not wanted:
        return float(words == wanted)
    shared = sum((Counter(words) & Counter(wanted)).values())
    return 2 * shared / (len(words) + len(wanted))


def spans_f1(given: Sequence[str], right: Sequence[str], *, several: bool) -> float:
    """Return the F1 of a field's values, 0 to 1: of a list the words of all, of a single value its best match."""
    if not given or not right:
        return float(not given and not right)
    if several:
        return span_f1(" ".join(given), " ".join(right))
    return max(span_f1(given[0], one) for one in right)


def _is_figure(text: str) -> bool:
    """Say whether a text is a number with signs and units alone, such as $1,496.5 million or (12)%."""
    return bool(
        re.fullmatch(
            r"[\s$€£¥%().,−+-]*\d[\d,.]*[\s%)]*(thousand|million|billion|trillion)?\.?",
            text.strip(),
            re.IGNORECASE,
        )
    )
