"""Read the tables of a run in batches: rows by document, and files that mention a document."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tinsmith.base.erasure import FORGOTTEN
from tinsmith.base.errors import RunError
from tinsmith.base.files import read_jsonl
from tinsmith.corpus.steps import WRITTEN_FROM

INGESTED, CURATED = Path("ingest/documents.parquet"), Path("curate/documents.parquet")
REJECTED, SPLIT = Path("curate/rejects.parquet"), Path("split/documents.parquet")
REFINED = Path("refine/documents.parquet")
TABLES = (INGESTED, CURATED, REJECTED, SPLIT, REFINED)
_BATCH = 512  # rows with their texts in memory at a time


def find_run(run: Path | None) -> Path:
    """Return the directory of a run, by default the only one below `runs`. Raises RunError."""
    if run is None:
        runs = sorted(path.parents[1] for path in Path("runs").glob("*/ingest/documents.parquet"))
        if len(runs) != 1:
            names = ", ".join(map(str, runs)) or "none"
            raise RunError(
                f"has {len(runs)} runs ({names})", where="runs", next_step="name one: --run runs/NAME"
            )
        return runs[0]
    if not (run / INGESTED).is_file():
        raise RunError(
            "is not a run: it has no finished stage ingest",
            where=str(run),
            next_step="name the directory that `tinsmith build` printed, for example runs/NAME",
        )
    return run


def batches(path: Path, columns: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Yield a Parquet file in batches, with those of the columns that it has; nothing if it is missing."""
    if not path.is_file():
        return
    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if columns is None or name in columns]
        for batch in file.iter_batches(_BATCH, columns=names):
            yield pa.Table.from_batches([batch])


def rows_where(
    path: Path, column: str, values: Collection[str], *, text: bool = False
) -> list[dict[str, Any]]:
    """Return the rows of a table with one of the values in a column; `text` includes the column `text`."""
    accepted, rows = pa.array(sorted(values), pa.string()), []
    for table in batches(path):
        kept = table if text else table.drop_columns([n for n in ("text",) if n in table.column_names])
        rows += kept.filter(pc.is_in(table[column], accepted)).to_pylist()
    return rows


def mentions(root: Path, doc_ids: Collection[str]) -> dict[str, int]:
    """Return the files of a run that mention one of the documents, with the number of such rows."""
    counts = {}
    for path in sorted(root.rglob("*")):
        if path.name == FORGOTTEN or not path.is_file():
            continue
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as file:
                count = sum(any(doc_id in line for doc_id in doc_ids) for line in file)
        elif path.suffix == ".parquet":
            count = sum(_count_mentions(table, doc_ids) for table in batches(path))
        else:
            continue
        if count:
            counts[path.relative_to(root).as_posix()] = count
    return counts


def _count_mentions(table: pa.Table, doc_ids: Collection[str]) -> int:
    columns = [table[f.name] for f in table.schema if f.name != "text" and pa.types.is_string(f.type)]
    masks = [
        pc.fill_null(pc.match_substring(column, doc_id), False) for column in columns for doc_id in doc_ids
    ]
    return int(pc.sum(functools.reduce(pc.or_, masks)).as_py() or 0) if masks and len(table) else 0


def jsonl_where(path: Path, column: str, values: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file with one of the values in a field; none if the file is missing."""
    return [row for row in read_jsonl(path) if row.get(column) in values] if path.is_file() else []


def made_from(row: dict[str, Any]) -> str:
    """Return the id of the document that a synthetic document was written from; empty for other documents."""
    try:
        origin = json.loads(row.get("meta") or "{}").get(WRITTEN_FROM)
    except (ValueError, AttributeError):
        return ""
    return origin if isinstance(origin, str) else ""


def matches_any(column: pa.ChunkedArray, patterns: Collection[str]) -> pa.ChunkedArray:
    """Return for each text whether one of the regular expressions (RE2, any case) matches."""
    # One at a time: alternatives in one expression make RE2 a hundred times slower.
    masks = [
        pc.fill_null(pc.match_substring_regex(column, pattern, ignore_case=True), False)
        for pattern in patterns
    ]
    return functools.reduce(pc.or_, masks) if masks else pc.equal(pc.binary_length(column), operator.neg(1))
