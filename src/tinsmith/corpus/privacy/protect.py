"""Replace personal data and credentials by typed placeholders, or reject the document."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tinsmith.corpus.privacy.find import PLACEHOLDER, find
from tinsmith.corpus.privacy.fold import fold
from tinsmith.corpus.privacy.recogniser import Recogniser, load_recogniser
from tinsmith.corpus.privacy.types import TYPES, Span
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import PrivacyConfig

# Reason of a rejection -> the field of the recipe that causes it.
REASONS = {"personal_data": "privacy.actions", "credential": "privacy.actions"}


class Protected(NamedTuple):
    """A protected text, the number of replaced spans per type, and why the document is rejected, if it is."""

    text: str
    counts: dict[str, int]
    drop: Rejection | None


class Protector:
    """Applies a recipe's action per type. Types with the action "keep" are not searched for."""

    def __init__(self, config: PrivacyConfig) -> None:
        self._config = config
        has_model = bool(config.recogniser)
        self.actions = {
            name: config.actions.get(name, info.with_recogniser if has_model else info.default)
            for name, info in TYPES.items()
        }
        self._types = frozenset(name for name, action in self.actions.items() if action != "keep")

    @property
    def recogniser(self) -> Recogniser | None:
        """Return the model that is used in addition to the rules, loaded on first use."""
        return load_recogniser(self._config.recogniser)

    def protect(self, text: str) -> Protected:
        """Return the text with placeholders such as [EMAIL_1]; equal values share one within a text."""
        spans = find(text, self._types, self.recogniser)
        fatal = next((span for span in spans if self.actions[span.type] == "drop"), None)
        if fatal is not None:
            reason = "credential" if TYPES[fatal.type].credential else "personal_data"
            count = sum(span.type == fatal.type for span in spans)
            return Protected(text, {}, Rejection(reason, f"{fatal.type}: {count} found"))
        return Protected(_replace(text, spans), dict(sorted(Counter(s.type for s in spans).items())), None)


def _replace(text: str, spans: list[Span]) -> str:
    """Number the values of each type in order, after the placeholders that the text already has."""
    last: Counter[str] = Counter()
    for match in PLACEHOLDER.finditer(text) if spans else ():
        type = match.group(1).lower()
        last[type] = max(last[type], int(match.group(2)))
    placeholders: dict[tuple[str, str], str] = {}
    parts, done = [], 0
    for span in spans:
        key = span.type, _normalise(text[span.start : span.end], span.type)
        if key not in placeholders:
            last[span.type] += 1
            placeholders[key] = f"[{span.type.upper()}_{last[span.type]}]"
        parts += [text[done : span.start], placeholders[key]]
        done = span.end
    return "".join([*parts, text[done:]])


def _normalise(value: str, type: str) -> str:
    """Return the same text for two spellings of one value. Credentials are case-sensitive."""
    if TYPES[type].credential:
        return value
    value = fold(value).text.casefold()
    if type in ("person", "address", "location", "organisation", "url", "email"):
        return " ".join(value.split())
    return "".join(filter(str.isalnum, value))
