"""Trace a document through a run: from its file to the weights trained on it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tinsmith.base.erasure import read_forgotten
from tinsmith.lineage.find import Document, copies, find, relatives
from tinsmith.lineage.passage import search
from tinsmith.lineage.tables import (
    CURATED,
    INGESTED,
    REFINED,
    REJECTED,
    SPLIT,
    batches,
    jsonl_where,
    made_from,
    mentions,
    rows_where,
)
from tinsmith.pipeline.manifests import read_manifest

# Stage, its input that documents come through, what it made, and where its files are.
_ARTEFACTS = (
    ("train", "tokenize", "weights", ("train/model",)),
    ("package", "train", "weights for use", ("package/model", "package/gguf")),
    ("bundle", "", "a bundle", ("bundle/model", "bundle/gguf")),
)
_SHOWN = ("language", "licence", "access", "cluster", "part")


def trace(root: Path, what: str) -> dict[str, Any]:
    """Return `{kind: "document", documents}` if `what` names some, else `{kind: "passage", ...}` of a search.

    Raises RunError for a passage without words.
    """
    documents = find(root, what)
    if not documents:
        return {"kind": "passage", **search(root, what)}
    return {"kind": "document", "documents": [describe(root, document) for document in documents]}


def describe(root: Path, document: Document) -> dict[str, Any]:
    """Return what each stage did with a document, what was derived from it, and which artefacts contain it."""
    ids = document.doc_ids
    derived = synthetic(root, ids)
    learnt = [*ids, *(row["doc_id"] for row in derived)]
    sequences = _sequences(root, learnt)
    files = jsonl_where(root / "ingest" / "files.jsonl", "source", {document.source})
    return {
        "source": document.source,
        "doc_ids": ids,
        "forgotten": _is_forgotten(root, document),
        "read": files[0] if files else None,
        "ingested": [
            {name: row[name] for name in ("doc_id", "licence", "mime")}
            for row in rows_where(root / INGESTED, "doc_id", document.ingested)
            if row["source"] == document.source
        ],
        "curated": _curated(root, document),
        "refined": list(_decisions(root, ids)),
        "sequences": sequences,
        "synthetic": derived,
        "examples": {
            name: len(jsonl_where(root / "tokenize" / f"{name}.jsonl", "doc_id", ids))
            for name in ("exam", "shots")
        },
        "copies": [copy.source for copy in copies(root, [document])],
        "relatives": [relative.source for relative in relatives(root, [document])],
        "shared_runs": _shared(root, ids),
        "artefacts": artefacts(root, learnt, sequences),
    }


def synthetic(root: Path, doc_ids: Collection[str]) -> list[dict[str, str]]:
    """Return the synthetic documents that were written from the given ones: `{doc_id, source}`."""
    known = set(doc_ids)
    return [
        {"doc_id": row["doc_id"], "source": row["source"]}
        for table in batches(root / REFINED, ("doc_id", "source", "meta"))
        for row in table.to_pylist()
        if made_from(row) in known
    ]


def artefacts(root: Path, doc_ids: Collection[str], sequences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the files that contain a document, and the weights trained on it: `{where, what, rows}`.

    A stage whose input has changed since was made from an earlier one, of which nothing is known. It is listed as
    possibly containing the document.
    """
    found: list[dict[str, Any]] = [
        {"where": where, "what": "rows that contain or mention it", "rows": rows}
        for where, rows in mentions(root, doc_ids).items()
    ]
    found += [
        {"where": f"{row['file'].rpartition('/')[0]}/tokens.bin", "what": "tokens", "rows": row["sequences"]}
        for row in sequences
    ]
    contained = bool(sequences)
    for stage, source, what, paths in _ARTEFACTS:
        manifest = read_manifest(root / stage)
        if manifest is None:
            continue
        before = read_manifest(root / source) if source else None
        stale = bool(before) and manifest["inputs"].get(source) != (before or {}).get("digest")
        stale = stale or (not source and _outdated(root, manifest))
        if contained or stale:
            label = f"{what}, made before its input changed: may contain it" if stale else what
            found += [{"where": path, "what": label} for path in paths if (root / path).exists()]
        contained = contained or stale
    return found


def _outdated(root: Path, manifest: dict[str, Any]) -> bool:
    stages = {name: read_manifest(root / name) for name in manifest["inputs"]}
    return any(stage and stage["digest"] != manifest["inputs"][name] for name, stage in stages.items())


def _is_forgotten(root: Path, document: Document) -> bool:
    forgotten = read_forgotten(root)
    by_id = any(forgotten.holds_document(doc_id) for doc_id in document.doc_ids)
    return by_id or forgotten.holds_file(document.source, document.sha256)


def _curated(root: Path, document: Document) -> list[dict[str, Any]]:
    """Return a row per curated text: kept, with its split, or why it was dropped."""
    kept = {row["doc_id"]: row for row in rows_where(root / CURATED, "doc_id", document.curated)}
    parts = {
        row["doc_id"]: row for path in (SPLIT, REFINED) for row in _present(root / path, document.curated)
    }
    rows = []
    for doc_id, row in kept.items():
        if row["source"] == document.source:
            now = {**row, **parts.get(doc_id, {})}
            rows.append({"doc_id": doc_id, "became": "kept"} | {n: now[n] for n in _SHOWN if now.get(n)})
    rows += [
        {"doc_id": row["doc_id"], "became": row["reason"], "detail": row["detail"]}
        for row in rows_where(root / REJECTED, "doc_id", document.curated)
        if row["source"] == document.source
    ]
    dropped = jsonl_where(root / "split" / "dropped.jsonl", "doc_id", document.curated)
    return rows + [
        {"doc_id": row["doc_id"], "became": row["reason"], "detail": f"with {row['held_out_doc_id']}"}
        for row in dropped
    ]


def _present(path: Path, doc_ids: Collection[str]) -> list[dict[str, Any]]:
    return rows_where(path, "doc_id", doc_ids) if path.is_file() else []


def _decisions(root: Path, doc_ids: Collection[str]) -> Iterator[dict[str, str]]:
    for path in sorted((root / "refine" / "decisions").glob("*.parquet")):
        for row in rows_where(path, "doc_id", doc_ids, text=True):
            outcome = "dropped" if row.pop("text") is None else "changed"
            yield {"step": path.stem, "became": outcome, **row}


def _sequences(root: Path, doc_ids: Collection[str]) -> list[dict[str, Any]]:
    """Return the token sequences that contain the documents, by file."""
    found = []
    for path in sorted(root.glob("tokenize/**/sequences.jsonl")):
        rows = jsonl_where(path, "doc_id", set(doc_ids))
        if rows:
            found.append(
                {
                    "file": path.relative_to(root).as_posix(),
                    "sequences": len(rows),
                    "tokens": sum(row["length"] for row in rows),
                }
            )
    return found


def _shared(root: Path, doc_ids: Collection[str]) -> list[dict[str, Any]]:
    path = root / "split" / "shared.jsonl"
    rows = jsonl_where(path, "train_doc_id", doc_ids) + jsonl_where(path, "held_out_doc_id", doc_ids)
    return [
        {
            "doc_id": row["held_out_doc_id"] if row["train_doc_id"] in doc_ids else row["train_doc_id"],
            "words": row["words"],
        }
        for row in rows
    ]
