"""Decode text, and split off the front matter."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from tinsmith.corpus.readers.base import Meta, Unreadable, json_safe

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_DECLARED = re.compile(rb"""(?:encoding|charset)\s*=\s*["']?([A-Za-z0-9_.:-]+)""")
_SAMPLE = 65_536
# Other encodings hardly ever look like UTF-8: so many letters that do show that a byte that does not is stray.
_WHOLE_PER_STRAY = 4
_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_MAX_FRONT = 65_536
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)$")
_TRUE_FALSE = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")


def decode(data: bytes) -> str:
    """Decode text of any encoding. Raises Unreadable for binary content."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    # Before UTF-8: ASCII letters in UTF-16 are valid UTF-8 with NULs.
    if wide := _wide_encoding(data[:_SAMPLE]):
        return data.decode(wide, "replace")
    if _control_share(data[:_SAMPLE]) > 0.05:
        raise Unreadable("unsupported_format", "binary content")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        return text if _is_nearly_utf8(text) else _decode_legacy(data)


def _is_nearly_utf8(text: str) -> bool:
    """Return whether so few places were replaced that the text is UTF-8 with stray bytes, or cut off at the end."""
    replaced = text.count("\ufffd")
    foreign = sum(char > "\x7f" for char in text) - replaced
    return foreign >= _WHOLE_PER_STRAY * replaced


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


def _wide_encoding(sample: bytes) -> str | None:
    """Recognise UTF-16 or UTF-32 without a byte order mark by the positions of NUL bytes."""
    sample = sample[: len(sample) // 4 * 4]
    if len(sample) < 8 or sample.count(0) < len(sample) // 4:
        return None
    quarter = len(sample) // 4
    nuls = [sample[start::4].count(0) / quarter for start in range(4)]
    full = [share > 0.7 for share in nuls]
    empty = [share < 0.1 for share in nuls]
    if all(full[1:]) and empty[0]:
        return "utf-32-le"
    if all(full[:3]) and empty[3]:
        return "utf-32-be"
    if full[1] and full[3] and empty[0] and empty[2]:
        return "utf-16-le"
    if full[0] and full[2] and empty[1] and empty[3]:
        return "utf-16-be"
    return None


def _control_share(sample: bytes) -> float:
    controls = sum(sample.count(byte) for byte in range(32) if byte not in (9, 10, 11, 12, 13, 27))
    return controls / max(len(sample), 1)


def _decode_legacy(data: bytes) -> str:
    declared = _DECLARED.search(data[:2048]) if data.lstrip()[:1] == b"<" else None
    if declared and (text := _try_codec(data, declared[1].decode("ascii"))) is not None:
        return text
    if _looks_western(data[:_SAMPLE]):
        return data.decode("cp1252", "replace")
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE]).best()
    return data.decode(best.encoding if best else "cp1252", "replace")


def _try_codec(data: bytes, name: str) -> str | None:
    # As on the web, Latin-1 means Windows-1252.
    name = "cp1252" if name.lower() in ("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii") else name
    try:
        return data.decode(name, "replace")
    except (LookupError, ValueError):
        return None


def _looks_western(sample: bytes) -> bool:
    """Return whether there are few high bytes, most of them letters or punctuation in Windows-1252."""
    high = [byte for byte in sample if byte > 127]
    text = bytes(high).decode("cp1252", "replace")
    likely = sum(char.isalpha() or char in "‘’“”–—…•€™§©®°·«»\xa0" for char in text)
    return len(high) < 0.25 * len(sample) and likely >= 0.9 * len(high)
