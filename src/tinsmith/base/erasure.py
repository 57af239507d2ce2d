"""The documents that a person wants forgotten: a list beside a run's stages, without any of their text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base.errors import RunError
from tinsmith.base.files import read_jsonl, sha256_json, write_jsonl

FORGOTTEN = "forgotten.jsonl"


@dataclass(frozen=True)
class ErasureList:
    """What must not be read again: documents by id, whole files by their bytes and by their path.

    A document's ids are those of its text as ingested and as curated. A path is forgotten whatever the file
    holds by now, so that a corrected copy in its place does not come back unasked.
    """

    documents: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()

    def holds_document(self, doc_id: str) -> bool:
        """Say whether a text, by the id of its ingested or curated form, is forgotten."""
        return doc_id in self.documents

    def holds_file(self, source: str, sha256: str) -> bool:
        """Say whether all that a file gives is forgotten."""
        return sha256 in self.files or source in self.sources

    @property
    def fingerprint(self) -> str:
        """Return a hash of what is forgotten, empty where nothing is; when and why do not count."""
        sets = (self.documents, self.files, self.sources)
        return sha256_json([sorted(each) for each in sets]) if any(sets) else ""


NOTHING = ErasureList()


def read_forgotten(root: Path) -> ErasureList:
    """Return what a run must forget; rows that were undone do not count. Raises RunError for a damaged list."""
    rows = [row for row in read_rows(root) if not row["undone"]]
    whole = [row for row in rows if row["whole_file"]]
    return ErasureList(
        frozenset(doc_id for row in rows for doc_id in row["doc_ids"]),
        frozenset(row["sha256"] for row in whole if row["sha256"]),
        frozenset(row["source"] for row in whole),
    )


def read_rows(root: Path) -> list[dict[str, Any]]:
    """Return the rows `{doc_ids, source, sha256, whole_file, reason, when, undone}`; none without a list.

    Raises RunError for a damaged list: a build that ignored it would learn what was to be forgotten.
    """
    path = root / FORGOTTEN
    if not path.exists():
        return []
    try:
        rows = list(read_jsonl(path))
        for row in rows:
            if not {"doc_ids", "source", "sha256", "whole_file", "undone"} <= set(row):
                raise ValueError(f"a row lacks a field: {sorted(row)}")
    except (ValueError, TypeError) as error:
        raise RunError(
            f"is damaged ({error})",
            where=str(path),
            next_step="mend the line; a build without this list would learn what was to be forgotten",
        ) from None
    return rows


def write_rows(root: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the list, atomically."""
    write_jsonl(root / FORGOTTEN, rows)
