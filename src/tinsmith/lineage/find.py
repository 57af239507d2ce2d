"""Find documents of a run by id, path or file name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from tinsmith.base.erasure import read_rows
from tinsmith.base.errors import RunError
from tinsmith.base.files import read_jsonl
from tinsmith.corpus.text.words import fold
from tinsmith.lineage.tables import CURATED, INGESTED, REFINED, REJECTED, TABLES, batches, rows_where

_ID = re.compile(r"[0-9a-f]{6,32}")
_NEAR_NAMES = 5


@dataclass
class Document:
    """A document of a run: its file, and the ids of its ingested and curated text.

    `whole_file` means all documents of the file.
    """

    source: str
    sha256: str = ""
    ingested: set[str] = field(default_factory=set)
    curated: set[str] = field(default_factory=set)
    whole_file: bool = False

    @property
    def doc_ids(self) -> list[str]:
        """Return all ids, sorted."""
        return sorted(self.ingested | self.curated)


def find(root: Path, what: str) -> list[Document]:
    """Return the documents that match the start of an id, a path, the tail of a path, or a file name."""
    ids: set[str] = set()
    sources: set[str] = set()
    for path in TABLES:
        for table in batches(root / path, ("doc_id", "source")):
            if _ID.fullmatch(what):
                ids |= set(table.filter(pc.starts_with(table["doc_id"], what))["doc_id"].to_pylist())
            sources |= {source for source in table["source"].to_pylist() if is_named(source, what)}
    sources |= {row["source"] for row in _files(root) if is_named(row["source"], what)}
    erased = [row for row in read_rows(root) if not row["undone"]]
    named = [row for row in erased if any(doc_id in ids for doc_id in row["doc_ids"])]
    if _ID.fullmatch(what):
        named = [row for row in erased if any(doc_id.startswith(what) for doc_id in row["doc_ids"])]
    named += [row for row in erased if row["whole_file"] and is_named(row["source"], what)]
    sources |= {row["source"] for row in named if row["whole_file"]}
    documents = [*_by_source(root, sources), *_by_id(root, ids, sources)]
    return _with_forgotten(documents, named)


def _with_forgotten(documents: list[Document], rows: list[dict[str, Any]]) -> list[Document]:
    """Add documents that only the erasure list still knows, because the run no longer has their text."""
    for row in rows:
        document = next((known for known in documents if known.source == row["source"]), None)
        if document is None:
            document = Document(row["source"], row["sha256"], whole_file=row["whole_file"])
            documents.append(document)
        document.curated |= set(row["doc_ids"]) - document.ingested
    return documents


def _files(root: Path) -> list[dict[str, Any]]:
    path = root / "ingest" / "files.jsonl"
    return list(read_jsonl(path)) if path.is_file() else []


def is_named(source: str, what: str) -> bool:
    """Return whether `what` is the path of a source or a tail of it."""
    return source == what or source.endswith((f"/{what}", f":{what}"))


def unknown_document(root: Path, what: str) -> RunError:
    """Return the error for a document that a run does not have, with similar names."""
    names = [row["source"] for row in _files(root)]
    short = {name.rpartition("/")[2]: name for name in names}
    similar = difflib.get_close_matches(what.rpartition("/")[2], short, n=_NEAR_NAMES)
    advice = f"did you mean {', '.join(short[name] for name in similar)}? " if similar else ""
    return RunError(
        f"the run has no document {what!r}",
        where=str(root),
        next_step=f"{advice}Give a doc_id (six digits or more), a path, or a file's name; "
        "ingest/files.jsonl lists all files",
    )


def copies(root: Path, documents: Iterable[Document]) -> list[Document]:
    """Return the documents of other files with exactly the same text."""
    known = list(documents)
    ids = {doc_id for document in known for doc_id in document.doc_ids}
    return _by_id(root, ids, {document.source for document in known})


def relatives(root: Path, documents: Iterable[Document]) -> list[Document]:
    """Return near-duplicates of the documents, and others of the same cluster."""
    known = list(documents)
    ids = {doc_id for document in known for doc_id in document.curated}
    rows = [row for path in (CURATED, REJECTED) for row in rows_where(root / path, "doc_id", ids)]
    clusters = {row["cluster"] for row in rows if row.get("cluster")} | ids
    kept = {row["detail"] for row in rows if row.get("reason") == "near_duplicate"}
    near = {row["doc_id"] for row in rows_where(root / CURATED, "cluster", clusters)} | kept
    near |= {
        row["doc_id"]
        for row in rows_where(root / REJECTED, "detail", ids | near)
        if row["reason"] == "near_duplicate"
    }
    return _by_id(root, near - ids, {document.source for document in known})


def _by_source(root: Path, sources: set[str]) -> list[Document]:
    found = {source: Document(source, whole_file=True) for source in sorted(sources)}
    for row in rows_where(root / INGESTED, "source", sources):
        found[row["source"]].ingested.add(row["doc_id"])
        found[row["source"]].sha256 = row["sha256"]
    for path in (CURATED, REJECTED):
        for row in rows_where(root / path, "source", sources):
            found[row["source"]].curated.add(row["doc_id"])
    for row in rows_where(root / REFINED, "source", sources):
        found[row["source"]].curated.add(row["doc_id"])
    for row in _files(root):
        if row["source"] in found:
            found[row["source"]].sha256 = found[row["source"]].sha256 or row["sha256"]
    return list(found.values())


def _by_id(root: Path, ids: set[str], without: set[str]) -> list[Document]:
    """Return the documents with the given ids, except those of the files `without`."""
    if not ids:
        return []
    named = {row["source"] for path in TABLES for row in rows_where(root / path, "doc_id", ids)} - without
    found = []
    for document in _by_source(root, named):
        if len(document.ingested) > 1 or len(document.curated) > 1:
            document = _part(root, document, ids)
        found.append(document)
    return found


def _part(root: Path, file: Document, ids: set[str]) -> Document:
    """Return the part of a multi-document file with the given ids: the ingested and curated form of each text."""
    before = rows_where(root / INGESTED, "source", {file.source}, text=True)
    after = [
        row
        for path in (CURATED, REJECTED)
        for row in rows_where(root / path, "source", {file.source}, text=True)
    ]
    part = Document(file.source, file.sha256)
    part.ingested, part.curated = file.ingested & ids, file.curated & ids
    for row in before:
        if row["doc_id"] in ids:
            part.curated |= _nearest(row, after)
    for row in after:
        if row["doc_id"] in ids and row["text"]:
            part.ingested |= _nearest(row, before)
    return part


def _nearest(row: dict[str, Any], others: list[dict[str, Any]]) -> set[str]:
    """Return the id of the text that shares most words with a row's, since repair may change some of them."""
    words = set(fold(row["text"] or ""))
    shares = {
        other["doc_id"]: len(words & theirs) / max(1, len(words | theirs))
        for other in others
        for theirs in [set(fold(other["text"] or ""))]
    }
    best = max(shares, key=shares.__getitem__, default="")
    return {best} if best and shares[best] > 0 else set()
