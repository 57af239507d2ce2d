"""Read the documents of all sources, and record for every other file why it was dropped."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from tinsmith.base.erasure import NOTHING, ErasureList
from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.read import REASONS, ReadResult
from tinsmith.corpus.readers.base import DEFAULT_TEXT_FIELD
from tinsmith.corpus.readers.ocr import missing_packages
from tinsmith.corpus.readers.pool import FileLimits, read_files
from tinsmith.corpus.readers.sources import FoundFiles, SourceFile, find_files
from tinsmith.corpus.tables import TableWriter
from tinsmith.recipe import IngestConfig

_COLUMNS = ("doc_id", "text", "source", "sha256", "mime", "licence", "language", "meta")
_SHOWN = 3  # files that an error names
SCHEMA = pa.schema([(name, pa.string()) for name in _COLUMNS])


def ingest(
    config: IngestConfig, *, out: Path, progress: Progress, forgotten: ErasureList = NOTHING
) -> dict[str, float]:
    """Read the sources into `documents.parquet`, a row per document, and `files.jsonl`, a row per file.

    A part of a file without a document (a record, a member, a page) has a row of its own below its file's.
    No text of a forgotten document is written.

    Returns files, dropped_files, dropped_parts, excluded_files, documents, characters, bytes (of all files), and
    dropped_REASON for each reason for which files were dropped.

    Raises:
        RecipeError: ingest.ocr is set and its packages are not installed, or no record has ingest.text_field.
        CorpusError: a source is missing or empty, or no file has a document.
    """
    if config.ocr and (missing := missing_packages()):
        raise RecipeError(
            f"needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            where="ingest.ocr",
            next_step='pip install "tinsmith[ocr]", or set ingest.ocr = false to drop scanned files',
        )
    found = find_files(config.sources, config.exclude)
    if not found.files:
        what = f"all {found.excluded} files of the sources are excluded by {', '.join(config.exclude)}"
        raise CorpusError(what, where="ingest.exclude", next_step="loosen the patterns")
    if found.unused:
        progress.say(f"  ingest.exclude: {', '.join(found.unused)} matches no file")
    max_bytes = round(config.max_megabytes_per_file * 1e6)
    limits = FileLimits(config.seconds_per_file, max_bytes, config.text_field, config.ocr)
    rows: list[dict[str, Any]] = [_unlistable_row(folder) for folder in found.unlistable]
    totals: Counter[str] = Counter()
    results = read_files([file.path for file in found.files], limits, workers=config.workers)
    with (
        TableWriter(out / "documents.parquet", SCHEMA) as table,
        progress.task("reading", float(len(found.files)), "files") as advance,
    ):
        for file, (result, seconds) in zip(found.files, results, strict=True):
            result = _without_forgotten(_printable(file.source), result, forgotten)
            rows.append(_file_row(file, result, seconds))
            rows += _part_rows(rows[-1], result)
            for document in _documents(file, result, config.licence):
                table.add_row(document)
            totals["characters"] += sum(len(document["text"]) for document in result.documents)
            totals["bytes"] += result.bytes
            totals["records"] += result.records
            advance(1)
        totals["documents"] = table.rows
    rows.sort(key=lambda row: row["source"])
    write_jsonl(out / "files.jsonl", rows)
    _check_text_field(rows, totals["records"], config)
    parts = Counter[str]()
    for row in rows:
        parts[row["reason"]] += row["parts"]
    totals["parts"] = parts.total()
    if totals["parts"]:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in parts.most_common() if count)
        progress.say(f"  parts of files without text: {counts}; files.jsonl lists them")
    return _statistics([row for row in rows if not row["part"]], totals, found, config)


def _check_text_field(rows: list[dict[str, Any]], records: int, config: IngestConfig) -> None:
    """Refuse a text field that the recipe names and no record has."""
    without = [row for row in rows if row["reason"] == "no_text_field"]
    if config.text_field == DEFAULT_TEXT_FIELD or records or not without:
        return
    shown = "; ".join(f"{row['source']} has {row['detail']}" for row in without[:_SHOWN])
    raise RecipeError(
        f"no record has the field {config.text_field!r} ({shown})",
        where="ingest.text_field",
        next_step="name the field that holds the text, or leave text_field out",
    )


def _statistics(
    rows: list[dict[str, Any]], totals: Counter[str], found: FoundFiles, config: IngestConfig
) -> dict[str, float]:
    reasons = Counter(row["reason"] for row in rows if row["status"] == "dropped")
    if not totals["documents"]:
        counts = "; ".join(f"{count} {reason} ({REASONS[reason]})" for reason, count in reasons.most_common())
        raise CorpusError(
            f"no document could be read from any of {len(rows)} files: {counts}",
            where=", ".join(config.sources),
            next_step="name files that contain text; files.jsonl in the stage's directory has the reason for each",
        )
    return {
        "files": float(len(rows)),
        "dropped_files": float(reasons.total()),
        "dropped_parts": float(totals["parts"]),
        "excluded_files": float(found.excluded),
        "documents": float(totals["documents"]),
        "characters": float(totals["characters"]),
        "bytes": float(totals["bytes"]),
    } | {f"dropped_{reason}": float(count) for reason, count in sorted(reasons.items())}


def _file_row(file: SourceFile, result: ReadResult, seconds: float) -> dict[str, Any]:
    return {
        "source": _printable(file.source),
        "sha256": result.sha256,
        "bytes": result.bytes,
        "mime": result.mime,
        "status": "dropped" if result.reason else "read",
        "reason": result.reason,
        "detail": result.detail,
        "characters": sum(len(document["text"]) for document in result.documents),
        "documents": len(result.documents),
        "seconds": round(seconds, 4),
        "part": "",
        "parts": 0,
    }


def _part_rows(file: dict[str, Any], result: ReadResult) -> list[dict[str, Any]]:
    """Return a row for each part of a file without a document; `parts` says how many records or pages it is."""
    nothing = {"status": "dropped", "bytes": 0, "characters": 0, "documents": 0, "seconds": 0.0}
    return [
        file
        | nothing
        | {name: loss[name] for name in ("reason", "detail")}
        | {"part": _printable(loss["part"]), "parts": loss["count"]}
        for loss in result.lost
    ]


def _without_forgotten(source: str, result: ReadResult, forgotten: ErasureList) -> ReadResult:
    """Remove forgotten documents; a file without any other is dropped as `forgotten`."""
    whole_file = forgotten.holds_file(source, result.sha256)
    kept = [
        document
        for document in result.documents
        if not (whole_file or forgotten.holds_document(_document_id(document["text"])))
    ]
    removed = len(result.documents) - len(kept)
    if not removed:
        return result
    detail = f"{removed} of {len(result.documents)} documents"
    return replace(result, documents=kept, reason="" if kept else "forgotten", detail=f"forgotten: {detail}")


def _document_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _unlistable_row(folder: str) -> dict[str, Any]:
    result = ReadResult(reason="unreadable", detail="folder cannot be listed")
    return _file_row(SourceFile(Path(folder), folder, ""), result, 0.0)


def _documents(file: SourceFile, result: ReadResult, licence: str) -> list[dict[str, str]]:
    return [
        {
            "doc_id": _document_id(document["text"]),
            "text": document["text"],
            "source": _printable(file.source),
            "sha256": result.sha256,
            "mime": result.mime,
            "licence": _own_licence(document["meta"]) or file.licence or licence,
            "language": "",
            "meta": json.dumps(document["meta"], ensure_ascii=False, sort_keys=True, allow_nan=False),
        }
        for document in result.documents
    ]


def _own_licence(meta: dict[str, Any]) -> str:
    """Return the licence in the document's own metadata, in either spelling and any case."""
    fields = {key.lower(): value for key, value in meta.items()}
    value = fields.get("licence") or fields.get("license")
    if isinstance(value, list):
        return " AND ".join(item for item in value if isinstance(item, str))
    return value.strip() if isinstance(value, str) else ""


def _printable(source: str) -> str:
    """Return a file name as valid Unicode: names on disk may contain any bytes."""
    return source.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
