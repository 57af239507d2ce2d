"""Files that a test writes, and what is read from them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from tinsmith.corpus.read import REASONS, ReadResult, read_file


def read_packed(path: Path, members: dict[str, str]) -> ReadResult:
    """Write a ZIP file of these members and read it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return read_file(path)


def only_text(result: ReadResult) -> str:
    """Return the text of the only document."""
    assert (result.reason, len(result.documents)) == ("", 1), result
    return str(result.documents[0]["text"])


def losses(result: ReadResult) -> list[tuple[Any, ...]]:
    """Return (part, reason, detail, count) of what was left out; each reason is a known one."""
    assert {row["reason"] for row in result.lost} <= set(REASONS)
    return [(row["part"], row["reason"], row["detail"], row["count"]) for row in result.lost]
