"""Decode text, and split off the front matter."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from tinsmith.base.encoding import find_encoding
from tinsmith.base.records import json_safe
from tinsmith.corpus.readers.base import Meta, Unreadable

_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_MAX_FRONT = 65_536
_CHUNK = 1 << 20
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)$")
_TRUE_FALSE = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")


def decode(data: bytes) -> str:
    """Decode text of any encoding. Raises Unreadable for binary content."""
    try:
        encoding = find_encoding(
            lambda: (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))
        )
        return data.decode(encoding.name, encoding.errors)
    except ValueError as error:
        raise Unreadable("unsupported_format", str(error)) from None


def split_front_matter(text: str) -> tuple[Meta, str]:
    """Split YAML between `---` lines off the top of a text. Returns (metadata, rest), or ({}, text) without any.

    Scalars other than null, booleans and plain integers stay text, so that version 1.10, language `no` and date
    2024-01-02 keep their spelling.
    """
    match = _FRONT.match(text)
    if not match or len(match[1]) > _MAX_FRONT:
        return {}, text
    import yaml

    try:
        meta = json_safe(yaml.load(match[1], Loader=_front_loader()))
    except (yaml.YAMLError, ValueError):
        return {}, text
    return (meta, text[match.end() :]) if isinstance(meta, dict) else ({}, text)


@lru_cache(maxsize=1)
def _front_loader() -> Any:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Load YAML with plain scalars as text."""

    kept = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in kept]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _TRUE_FALSE, list("tTfF"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
    return Loader
