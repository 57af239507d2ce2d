"""Models that find names and places beside the rules: a protocol, and spaCy behind it."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from tinsmith.base.errors import RecipeError
from tinsmith.corpus.privacy.types import Span

_LABELS = {
    "PERSON": "person", "PER": "person", "GPE": "location", "LOC": "location", "FAC": "location",
    "ORG": "organisation", "NORP": "",
}  # fmt: skip
_PIECE = 20_000  # characters that go through the model at once: its memory grows with them
_NEVER = ("tagger", "parser", "senter", "attribute_ruler", "lemmatizer")


class Recogniser(Protocol):
    """What finds spans by learning instead of rules."""

    identity: str  # model, version and engine, for the report
    types: frozenset[str]

    def find(self, text: str) -> Iterator[Span]:
        """Yield spans in a text; they may overlap with those of rules, which then count."""
        ...


class SpacyRecogniser:
    """A spaCy pipeline with a component `ner`, without the parts that names do not need."""

    types = frozenset(kind for kind in _LABELS.values() if kind)

    def __init__(self, model: str) -> None:
        spacy, package = _import("spacy", model), _import(model, model)
        path: Any = getattr(package, "model_path", None)  # a package that only carries the model's folder
        source = Path(path()) if path else model
        self._pipeline = spacy.load(source, exclude=list(_NEVER))
        meta = self._pipeline.meta
        self.identity = (
            f"spacy:{model} {meta['lang']}_{meta['name']} {meta['version']} (spaCy {spacy.__version__})"
        )

    def find(self, text: str) -> Iterator[Span]:
        """Yield people, places and organisations, piece by piece of a long text."""
        for start, end in _pieces(text):
            for entity in self._pipeline(text[start:end]).ents:
                span = _mend(entity.text, _LABELS.get(entity.label_, ""))
                if span is not None:
                    begin = start + entity.start_char
                    yield Span(begin, begin + len(span[0]), span[1], "spacy")


_FIRM = re.compile(
    r"\b(?:Inc|LLC|L\.L\.C|Ltd|Limited|Corp|Corporation|Company|Co|Group|GmbH|AG|PLC|LLP|LP|Bank|Partners|Orchestra|University|"
    r"Sons|Trust|Fund|Association|Holdings|Committee|Department|Board|Commission|Plan|Act|Agreement|Notes?|Section|Securities)\b\.?"
)
_ODD = re.compile(r"[\"“”:;()\[\]{}|=/<>@_$%0-9]")


def _mend(value: str, kind: str) -> tuple[str, str] | None:
    """Return what of an entity is a name, and of what: line ends part names, firms are no places or people."""
    value = value.split("\n")[0].rstrip(" ,.;:")
    value = value.removesuffix("'s").removesuffix("’s")
    if not kind or len(value) < 2 or _ODD.search(value) or value.endswith(("'", "’")):
        return None
    if kind != "organisation" and _FIRM.search(value):
        kind = "organisation"
    if kind == "person" and not any(map(str.isupper, value)) and " " not in value:
        return None
    return value, kind


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = min(len(text), start + _PIECE)
        if end < len(text):
            cut = max(text.rfind("\n", start + _PIECE // 2, end), text.rfind(". ", start + _PIECE // 2, end))
            end = cut + 1 if cut > 0 else end
        yield start, end
        start = end


def _import(module: str, model: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RecipeError(
            f"the module {module} is not installed",
            where=f'curate.privacy.recogniser = "spacy:{model}"',
            next_step='pip install "tinsmith[names]", or leave the field empty for rules alone',
        ) from error


@functools.lru_cache(maxsize=2)
def load_recogniser(name: str) -> Recogniser | None:
    """Return the recogniser that a recipe names, loaded once a process; None for rules alone."""
    return SpacyRecogniser(name.partition(":")[2]) if name else None
