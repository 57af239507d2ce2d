"""The erasure list of a run: documents that a person wants forgotten, without any of their text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base.errors import RunError
from tinsmith.base.files import read_jsonl, sha256_json, write_jsonl

FORGOTTEN = "forgotten.jsonl"


@dataclass(frozen=True)
class ErasureList:
    """What must not be read again: documents by id, whole files by SHA-256 and by path.

    A document has the ids of its ingested and of its curated text. A path stays forgotten even if the file has
    changed, so that a corrected copy does not come back unnoticed.
    """

    documents: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()

    def holds_document(self, doc_id: str) -> bool:
        """Return whether a text is forgotten, given the id of its ingested or curated form."""
        return doc_id in self.documents

    def holds_file(self, source: str, sha256: str) -> bool:
        """Return whether a whole file is forgotten."""
        return sha256 in self.files or source in self.sources

    @property
    def fingerprint(self) -> str:
        """Return a hash of the list without times and reasons; empty if nothing is forgotten."""
        sets = (self.documents, self.files, self.sources)
        return sha256_json([sorted(names) for names in sets]) if any(sets) else ""


NOTHING = ErasureList()


def read_forgotten(root: Path) -> ErasureList:
    """Return the erasure list of a run without undone rows. Raises RunError for a damaged list."""
    rows = [row for row in read_rows(root) if not row["undone"]]
    files = [row for row in rows if row["whole_file"]]
    return ErasureList(
        frozenset(doc_id for row in rows for doc_id in row["doc_ids"]),
        frozenset(row["sha256"] for row in files if row["sha256"]),
        frozenset(row["source"] for row in files),
    )


def read_rows(root: Path) -> list[dict[str, Any]]:
    """Return the rows `{doc_ids, source, sha256, whole_file, reason, when, undone}`, none if there is no list.

    Raises RunError for a damaged list: a build that ignored it would train on forgotten documents.
    """
    path = root / FORGOTTEN
    if not path.exists():
        return []
    try:
        rows = list(read_jsonl(path))
        for row in rows:
            if not {"doc_ids", "source", "sha256", "whole_file", "undone"} <= set(row):
                raise ValueError(f"a row with a missing field: {sorted(row)}")
    except (ValueError, TypeError) as error:
        raise RunError(
            f"is damaged ({error})",
            where=str(path),
            next_step="repair the line; a build without this list would train on forgotten documents",
        ) from None
    return rows


def write_rows(root: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the list, atomically."""
    write_jsonl(root / FORGOTTEN, rows)
