"""What all readers share: their options, their result, and the error for a file without text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Meta = dict[str, Any]
DEFAULT_TEXT_FIELD = "text"

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
    note: str = ""  # what a person should know of how it was read


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
    """Options of the readers: the field with text, the unpacked size allowed in bytes, whether to recognise scans.

    `depth` counts the documents around the one that is read.
    """

    text_field: str = DEFAULT_TEXT_FIELD
    max_unpacked_bytes: int = 1_000_000_000
    ocr: bool = False
    depth: int = 0


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
