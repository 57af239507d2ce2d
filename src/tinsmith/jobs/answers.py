"""Read an answer in words as the answer of a job: endpoints and recorded systems are read by the same rules."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

UNREADABLE = ""  # the prediction where an answer names no label, or several
_AROUND = " \t\r\n\"'`*_([{<“”‘’#>-"
_OTHER_TOO = re.compile(r"[\s\"'*]*(?:/|\bor\b|\bto\b|\band\b|,)[\s\"'*]*", re.IGNORECASE)


def read_label(labels: Sequence[str], raw: str) -> str:
    """Return the label that an answer in words gives; empty where it names none, or several.

    A label counts at the beginning, in any case, in quotes, and as a value of a JSON object; else where it is the only
    one that is named. A label inside a longer one that is named is not named by itself.
    """
    text = _value_of_json(raw)
    patterns = {label: _pattern(label) for label in labels}
    start = text.lstrip(_AROUND)
    first = _longest({label: found for label in labels if (found := patterns[label].match(start))})
    if first:
        label, found = first
        rest = start[found.end() :]
        another = _OTHER_TOO.match(rest)
        begins = another and any(
            patterns[other].match(rest[another.end() :]) for other in labels if other != label
        )
        return UNREADABLE if begins else label
    named = read_labels(labels, text)
    return named[0] if len(named) == 1 else UNREADABLE


def read_labels(labels: Sequence[str], raw: str) -> list[str]:
    """Return all labels that an answer names, in the order of `labels`."""
    text = _value_of_json(raw)
    spans = {label: [found.span() for found in _pattern(label).finditer(text)] for label in labels}
    taken = [span for found in spans.values() for span in found]

    def inside_another(span: tuple[int, int]) -> bool:
        return any(low <= span[0] and span[1] <= high and (low, high) != span for low, high in taken)

    return [label for label in labels if any(not inside_another(span) for span in spans[label])]


def _longest(found: dict[str, re.Match[str]]) -> tuple[str, re.Match[str]] | None:
    return max(found.items(), key=lambda pair: pair[1].end(), default=None)


def _value_of_json(raw: str) -> str:
    """Return the values of a JSON object or list as text, or the text itself."""
    start, end = raw.find("{"), raw.rfind("}")
    for text in (raw.strip(), raw[start : end + 1] if 0 <= start < end else ""):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        values = list(value.values()) if isinstance(value, dict) else value
        return ", ".join(map(str, values)) if isinstance(values, list) else str(values)
    return raw


def _pattern(label: str) -> re.Pattern[str]:
    """Return a pattern for a label in any case, with any space or underscore between its words."""
    words = r"[\s_]+".join(re.escape(word) for word in re.split(r"[\s_]+", label.strip()) if word)
    return re.compile(rf"(?<![^\W_]){words}(?![^\W_])", re.IGNORECASE)
