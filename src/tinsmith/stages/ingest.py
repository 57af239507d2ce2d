"""Read every document that the recipe names; say of every other file why it was dropped."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow
import pyarrow.parquet

from tinsmith.base import assets
from tinsmith.base.erasure import NOTHING, ErasureList
from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.read import REASONS, ReadResult, find_sources
from tinsmith.corpus.readers.ocr import missing
from tinsmith.corpus.readers.pool import Limit, read_files
from tinsmith.corpus.readers.sources import Found, SourceFile, find_files
from tinsmith.recipe import IngestConfig

SCHEMA = pyarrow.schema(
    [
        (name, pyarrow.string())
        for name in ("doc_id", "text", "source", "sha256", "mime", "licence", "language", "meta")
    ]
)
_GROUP_CHARACTERS = 32_000_000
_GROUP_ROWS = 20_000


def ingest(
    config: IngestConfig, *, out: Path, progress: Progress, forgotten: ErasureList = NOTHING
) -> dict[str, float]:
    """Read the sources into `documents.parquet`, a row per document, and `files.jsonl`, a row per file.

    What is forgotten is left out; of the text of a forgotten document nothing is written.

    Returns files, dropped_files, excluded_files, documents, characters, bytes (of all files seen), and
    dropped_REASON for each reason that occurred.

    Raises:
        CorpusError: a source is missing or empty, or no file gives a document.
    """
    if config.ocr and (lacking := missing()):
        raise RecipeError(
            f"ingest.ocr needs {' and '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not installed",
            where="ingest.ocr",
            next_step='pip install "tinsmith[ocr]", or set ingest.ocr = false: scanned files are then dropped as such',
        )
    found = find_files(config.sources, config.exclude)
    if not found.files:
        what = f"all {found.excluded} files of the sources are excluded by {', '.join(config.exclude)}"
        raise CorpusError(what, where="ingest.exclude", next_step="loosen the patterns")
    limit = Limit(
        config.seconds_per_file,
        round(config.max_megabytes_per_file * 1e6),
        config.text_field,
        config.ocr,
    )
    rows: list[dict[str, Any]] = [_closed_row(folder) for folder in found.closed]
    totals: Counter[str] = Counter()
    results = read_files([file.path for file in found.files], limit, workers=config.workers)
    with (
        _Table(out / "documents.parquet") as table,
        progress.task("reading", float(len(found.files)), "files") as advance,
    ):
        for file, (result, seconds) in zip(found.files, results, strict=True):
            result = _without_forgotten(_printable(file.source), result, forgotten)
            rows.append(_file_row(file, result, seconds))
            for document in _documents(file, result, config.licence):
                table.add(document)
            totals["characters"] += rows[-1]["characters"]
            totals["bytes"] += result.bytes
            advance(1)
        totals["documents"] = table.rows
    write_jsonl(out / "files.jsonl", sorted(rows, key=lambda row: row["source"]))
    return _statistics(rows, totals, found, config)


def source_files(config: IngestConfig, *, fetch: bool = True) -> list[Path]:
    """Return the files that a reading would open; without `fetch` named corpora count only where cached."""
    here = [name for name in config.sources if fetch or name not in assets.KNOWN or assets.is_cached(name)]
    return find_sources(here, config.exclude)


def _statistics(
    rows: list[dict[str, Any]], totals: Counter[str], found: Found, config: IngestConfig
) -> dict[str, float]:
    reasons = Counter(row["reason"] for row in rows if row["status"] == "dropped")
    if not totals["documents"]:
        told = "; ".join(f"{count} {reason} ({REASONS[reason]})" for reason, count in reasons.most_common())
        raise CorpusError(
            f"none of {len(rows)} files gives a document: {told}",
            where=", ".join(config.sources),
            next_step="name files with text; files.jsonl of the stage has a line on each",
        )
    return {
        "files": float(len(rows)),
        "dropped_files": float(reasons.total()),
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
    }


def _without_forgotten(source: str, result: ReadResult, forgotten: ErasureList) -> ReadResult:
    """Return what a file gave without what is forgotten; a file of which nothing is left is dropped for it."""
    whole = forgotten.holds_file(source, result.sha256)
    kept = [
        document
        for document in result.documents
        if not (whole or forgotten.holds_document(_document_id(document["text"])))
    ]
    gone = len(result.documents) - len(kept)
    if not gone:
        return result
    detail = f"{gone} of {len(result.documents)} documents"
    return replace(result, documents=kept, reason="" if kept else "forgotten", detail=f"forgotten: {detail}")


def _document_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _closed_row(folder: str) -> dict[str, Any]:
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
    """Return what the document itself says of its licence, in either spelling and any case."""
    said = {key.lower(): value for key, value in meta.items()}
    value = said.get("licence") or said.get("license")
    if isinstance(value, list):
        return " AND ".join(item for item in value if isinstance(item, str))
    return value.strip() if isinstance(value, str) else ""


def _printable(source: str) -> str:
    """Return a file name as valid Unicode: names on disk may hold any bytes."""
    return source.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class _Table:
    """A Parquet file written in row groups of bounded size; it bears its name only when whole."""

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, path.with_name(f".{path.name}.partial")
        self.rows = 0
        self.pending: list[dict[str, str]] = []
        self.pending_characters = 0

    def __enter__(self) -> _Table:
        self.writer = pyarrow.parquet.ParquetWriter(self.partial, SCHEMA, compression="zstd")
        return self

    def add(self, row: dict[str, str]) -> None:
        """Append a row."""
        self.pending.append(row)
        self.rows += 1
        self.pending_characters += len(row["text"])
        if self.pending_characters >= _GROUP_CHARACTERS or len(self.pending) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        self.writer.write_table(pyarrow.Table.from_pylist(self.pending, schema=SCHEMA))
        self.pending, self.pending_characters = [], 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pending and error is None:
            self._flush()
        self.writer.close()
        if error is None:
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink(missing_ok=True)
