"""What every reader hands back, and how it says that it cannot."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Meta = dict[str, Any]

# Most metadata holds a few dozen values; a YAML alias bomb holds billions.
_MAX_META_VALUES = 20_000
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


class Unreadable(Exception):
    """A file gives no text, for a reason that goes into files.jsonl. Never leaves the reader process."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
        self.mime = ""


@dataclass
class Piece:
    """One document found in a file: its text and what the file says about it."""

    text: str
    meta: Meta = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What a reader is asked for: the field with text, how far a file may unpack (bytes), whether to read scans."""

    text_field: str = "text"
    max_unpacked_bytes: int = 1_000_000_000
    ocr: bool = False


def clean(text: str) -> str:
    """Return text with plain line ends, without control characters, lone surrogates and outer white space."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")
    text = _CONTROLS.sub("", text).encode("utf-8", "replace").decode("utf-8")
    return text.strip("\n \t\ufeff")


def join_blocks(blocks: Iterable[str]) -> str:
    """Join the blocks that are not blank by an empty line."""
    return "\n\n".join(block for block in (block.strip("\n ") for block in blocks) if block.strip())


def json_safe(value: Any) -> Any:
    """Return a value as JSON holds it: dates as ISO text, infinities as text, bytes as their size.

    Raises:
        ValueError: the value holds more than 20,000 parts.
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
