"""Models that find names and places in addition to the rules: a protocol and its spaCy implementation."""

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
_PIECE = 20_000  # characters per call of the model, whose memory grows with them
_EXCLUDED = ("tagger", "parser", "senter", "attribute_ruler", "lemmatizer")


class Recogniser(Protocol):
    """A model that finds spans in a text."""

    identity: str  # model, version and engine, for the report
    types: frozenset[str]

    def find(self, text: str) -> Iterator[Span]:
        """Yield spans in a text; where they overlap with those of rules, the rules win."""
        ...


class SpacyRecogniser:
    """A spaCy pipeline with the component `ner`, without those that names do not need."""

    types = frozenset(type for type in _LABELS.values() if type)

    def __init__(self, model: str) -> None:
        spacy, package = _import("spacy", model), _import(model, model)
        path: Any = getattr(package, "model_path", None)  # a package that only contains the model's folder
        source = Path(path()) if path else model
        self._pipeline = spacy.load(source, exclude=list(_EXCLUDED))
        meta = self._pipeline.meta
        self.identity = (
            f"spacy:{model} {meta['lang']}_{meta['name']} {meta['version']} (spaCy {spacy.__version__})"
        )

    def find(self, text: str) -> Iterator[Span]:
        """Yield people, places and organisations; a long text is processed in pieces."""
        for start, end in _pieces(text):
            for entity in self._pipeline(text[start:end]).ents:
                cleaned = _clean(entity.text, _LABELS.get(entity.label_, ""))
                if cleaned is not None:
                    name, type = cleaned
                    begin = start + entity.start_char
                    yield Span(begin, begin + len(name), type, "spacy")


_FIRM = re.compile(
    r"\b(?:Inc|LLC|L\.L\.C|Ltd|Limited|Corp|Corporation|Company|Co|Group|GmbH|AG|PLC|LLP|LP|Bank|Partners|Orchestra|University|"
    r"Sons|Trust|Fund|Association|Holdings|Committee|Department|Board|Commission|Plan|Act|Agreement|Notes?|Section|Securities)\b\.?"
)
_ODD = re.compile(r"[\"“”:;()\[\]{}|=/<>@_$%0-9]")


def _clean(value: str, type: str) -> tuple[str, str] | None:
    """Return the name in an entity and its corrected type: names end at a line end, firms are organisations."""
    value = value.split("\n")[0].rstrip(" ,.;:")
    value = value.removesuffix("'s").removesuffix("’s")
    if not type or len(value) < 2 or _ODD.search(value) or value.endswith(("'", "’")):
        return None
    if type != "organisation" and _FIRM.search(value):
        type = "organisation"
    if type == "person" and not any(map(str.isupper, value)) and " " not in value:
        return None
    return value, type


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
            next_step='pip install "tinsmith[names]", or leave the field empty to use rules alone',
        ) from error


@functools.lru_cache(maxsize=2)
def load_recogniser(name: str) -> Recogniser | None:
    """Return the recogniser that a recipe names, loaded once per process, or None for rules alone."""
    return SpacyRecogniser(name.partition(":")[2]) if name else None
