"""What all readers share: their options, their result, and the error for a file without text."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Meta = dict[str, Any]
DEFAULT_TEXT_FIELD = "text"

# Most metadata has a few dozen values; a YAML alias bomb has billions.
_MAX_META_VALUES = 20_000
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


class Unreadable(Exception):
    """A file has no text; `reason` and `detail` go into files.jsonl. Never leaves the reader process."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
        self.mime = ""


@dataclass
class Piece:
    """One document of a file: its text and the metadata that the file states."""

    text: str
    meta: Meta = field(default_factory=dict)
    record: bool = False  # whether the text is that of a record's text field


@dataclass
class Loss:
    """A part of a file that gives no document: which one, why, and how many records it stands for."""

    part: str
    reason: str
    detail: str = ""
    count: int = 1


Part = Piece | Loss


@dataclass(frozen=True)
class Limits:
    """Options of the readers: the field with text, the unpacked size allowed in bytes, whether to recognise scans."""

    text_field: str = DEFAULT_TEXT_FIELD
    max_unpacked_bytes: int = 1_000_000_000
    ocr: bool = False


def name_set(words: str) -> frozenset[str]:
    """Return the words of a text as a set of names."""
    return frozenset(words.split())


def clean(text: str) -> str:
    """Return text with LF line ends, without control characters, lone surrogates and outer white space."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")
    text = _CONTROLS.sub("", text).encode("utf-8", "replace").decode("utf-8")
    return text.strip("\n \t\ufeff")


def join_blocks(blocks: Iterable[str]) -> str:
    """Join the blocks that are not blank, with an empty line between them."""
    return "\n\n".join(block for block in (block.strip("\n ") for block in blocks) if block.strip())


def json_safe(value: Any) -> Any:
    """Return a value as JSON: dates as ISO text, infinities and NaN as text, bytes as their size.

    Raises:
        ValueError: the value has more than 20,000 parts.
    """
    budget = [_MAX_META_VALUES]
    return _safe(value, budget)


def _safe(value: Any, budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError("metadata with too many values")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _safe(item, budget) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_safe(item, budget) for item in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
