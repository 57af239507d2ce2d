"""Replace what is found by typed placeholders, or say that the document goes."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tinsmith.corpus.privacy.find import PLACEHOLDER, find
from tinsmith.corpus.privacy.recogniser import Recogniser, load_recogniser
from tinsmith.corpus.privacy.types import TYPES, Span
from tinsmith.corpus.rejection import Drop
from tinsmith.recipe import PrivacyConfig

# Reason of a drop -> the field of the recipe that causes it.
REASONS = {"personal_data": "privacy.actions", "credential": "privacy.actions"}


class Protected(NamedTuple):
    """A text after protection, how many spans of each type were replaced, and why it goes, if it does."""

    text: str
    counts: dict[str, int]
    drop: Drop | None


class Protector:
    """Applies a recipe's choice per type. Types that are kept are not looked for."""

    def __init__(self, config: PrivacyConfig) -> None:
        self._config = config
        named = bool(config.recogniser)
        self.actions = {
            name: config.actions.get(name, info.with_recogniser if named else info.default)
            for name, info in TYPES.items()
        }
        self._types = frozenset(name for name, action in self.actions.items() if action != "keep")

    @property
    def recogniser(self) -> Recogniser | None:
        """Return the model beside the rules, loaded when it is first asked for."""
        return load_recogniser(self._config.recogniser)

    def protect(self, text: str) -> Protected:
        """Return the text with placeholders such as [EMAIL_1]; equal values bear the same within a text."""
        spans = find(text, self._types, self.recogniser)
        fatal = next((span for span in spans if self.actions[span.type] == "drop"), None)
        if fatal is not None:
            reason = "credential" if TYPES[fatal.type].credential else "personal_data"
            found = sum(span.type == fatal.type for span in spans)
            return Protected(text, {}, Drop(reason, f"{fatal.type}: {found} found"))
        return Protected(_replace(text, spans), dict(sorted(Counter(s.type for s in spans).items())), None)


def _replace(text: str, spans: list[Span]) -> str:
    """Number the values of each type in order; numbers that the text already holds are not given again."""
    last: Counter[str] = Counter()
    for found in PLACEHOLDER.finditer(text) if spans else ():
        name = found.group(1).lower()
        last[name] = max(last[name], int(found.group(2)))
    given: dict[tuple[str, str], str] = {}
    parts, done = [], 0
    for span in spans:
        value = span.type, _normal(text[span.start : span.end], span.type)
        if value not in given:
            last[span.type] += 1
            given[value] = f"[{span.type.upper()}_{last[span.type]}]"
        parts += [text[done : span.start], given[value]]
        done = span.end
    return "".join([*parts, text[done:]])


def _normal(value: str, type: str) -> str:
    """Return what two spellings of one value share. Credentials tell upper case from lower."""
    if TYPES[type].credential:
        return value
    if type in ("person", "address", "location", "organisation", "url", "email"):
        return " ".join(value.casefold().split())
    return "".join(filter(str.isalnum, value.casefold()))
