"""Add documents to the erasure list of a run, or take them off it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinsmith.base.erasure import read_rows, write_rows
from tinsmith.base.errors import RunError
from tinsmith.lineage.find import Document, copies, find, relatives, unknown_document
from tinsmith.lineage.tables import REFINED, made_from, rows_where
from tinsmith.lineage.trace import describe
from tinsmith.pipeline.build import locked


def forget(root: Path, what: str, *, reason: str = "", with_copies: bool = False) -> dict[str, Any]:
    """Mark a document and its exact copies, so that the next build leaves them out.

    `with_copies` also marks near-duplicates and the others of its cluster. Returns `{documents: those marked, as
    trace describes them, relatives: paths of those that stay}`. Raises RunError for an unknown document, for a
    synthetic one, which the next build would write again, and while a build is running.
    """
    with locked(root):
        meant = find(root, what)
        if not meant:
            raise unknown_document(root, what)
        _refuse_synthetic(root, meant)
        marked = [*meant, *copies(root, meant)]
        near = _others(relatives(root, marked), marked)
        if with_copies:
            marked, near = [*marked, *near, *_others(copies(root, near), [*marked, *near])], []
        described = [describe(root, document) for document in marked]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows = read_rows(root)
        known = {_identity(row) for row in rows if not row["undone"]}
        fresh = [_row(document, reason, now) for document in marked]
        write_rows(root, rows + [row for row in fresh if _identity(row) not in known])
    return {"documents": described, "relatives": [document.source for document in near]}


def _refuse_synthetic(root: Path, documents: Sequence[Document]) -> None:
    for row in rows_where(root / REFINED, "source", {document.source for document in documents}):
        if origin := made_from(row):
            raise RunError(
                f"was written from the document {origin}, from which the next build would write it again",
                where=row["source"],
                next_step=f"tinsmith forget {origin}",
            )


def remember(root: Path, what: str) -> list[str]:
    """Undo a forget: return the paths that the next build reads again. Raises RunError if none is marked.

    Rows stay on the list, with the time of the undo.
    """
    with locked(root):
        rows = read_rows(root)
        named = {(document.source, doc_id) for document in find(root, what) for doc_id in document.doc_ids}
        whole = {document.source for document in find(root, what)}
        back = [row for row in rows if not row["undone"] and _is_meant(row, named, whole)]
        if not back:
            raise RunError(
                f"{what!r} is not forgotten",
                where=str(root),
                next_step="see forgotten.jsonl there for the documents that are",
            )
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        write_rows(root, [{**row, "undone": now} if row in back else row for row in rows])
    return sorted({row["source"] for row in back})


def _is_meant(row: dict[str, Any], named: set[tuple[str, str]], whole: set[str]) -> bool:
    if row["whole_file"]:
        return row["source"] in whole
    return any((row["source"], doc_id) in named for doc_id in row["doc_ids"])


def _others(documents: Sequence[Document], known: Sequence[Document]) -> list[Document]:
    sources = {document.source for document in known}
    return [document for document in documents if document.source not in sources]


def _row(document: Document, reason: str, now: str) -> dict[str, Any]:
    return {
        "doc_ids": document.doc_ids,
        "source": document.source,
        "sha256": document.sha256,
        "whole_file": document.whole_file,
        "reason": reason,
        "when": now,
        "undone": "",
    }


def _identity(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["source"], row["sha256"], str(row["whole_file"]), *row["doc_ids"])
