"""Filters: rules that drop documents, or lines of them, with published thresholds.

Each name in `curate.rules` is a module here with two members:
REASONS: reason of a rejection -> the field under `curate` that causes it, in the order of the funnel.
apply(document, config): the document as the filter leaves it, or why it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, get_args

from tinsmith.corpus.filters.scan import ScannedText, scan_text
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import CurateConfig
from tinsmith.recipe.corpus import FilterName


class Filter(NamedTuple):
    """The two members of a filter's module."""

    reasons: dict[str, str]
    apply: Callable[[ScannedText, CurateConfig], ScannedText | Rejection]


def _load(name: str) -> Filter:
    module = import_module(f"{__name__}.{name}")
    return Filter(module.REASONS, module.apply)


FILTERS = {name: _load(name) for name in get_args(FilterName)}
# Reason of a rejection -> the field under `curate` that causes it, in the order of the funnel.
REASONS = {reason: field for each in FILTERS.values() for reason, field in each.reasons.items()}


class Filters:
    """The filters that a recipe names, applied in its order."""

    def __init__(self, config: CurateConfig) -> None:
        self.config = config
        self.filters = [FILTERS[name] for name in config.rules]
        self.reasons = {reason for each in self.filters for reason in each.reasons}

    def apply(self, text: str, language: str = "") -> tuple[str, Rejection | None]:
        """Return a text as the filters leave it, and the first rejection or None.

        A text without words is rejected as empty. Rules about English apply only if `language` is "en".
        """
        document = scan_text(text, language)
        for each in self.filters:
            if not len(document.tokens):
                break
            result = each.apply(document, self.config)
            if isinstance(result, Rejection):
                return document.text, result
            document = result
        return document.text, None if len(document.tokens) else Rejection("empty", "no words")
