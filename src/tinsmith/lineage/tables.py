"""A run's tables, read a batch at a time: rows by document, and files that name one."""

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

INGESTED, CURATED = Path("ingest/documents.parquet"), Path("curate/documents.parquet")
REJECTED, SPLIT = Path("curate/rejects.parquet"), Path("split/documents.parquet")
REFINED = Path("refine/documents.parquet")
TABLES = (INGESTED, CURATED, REJECTED, SPLIT, REFINED)
_BATCH = 512  # rows, whose texts are in memory at one time


def find_run(run: Path | None) -> Path:
    """Return the run's directory; without a name the only one below `runs`. Raises RunError."""
    if run is None:
        found = sorted(path.parents[1] for path in Path("runs").glob("*/ingest/documents.parquet"))
        if len(found) != 1:
            named = ", ".join(map(str, found)) or "none"
            raise RunError(
                f"holds {len(found)} runs ({named})", where="runs", next_step="name one: --run runs/NAME"
            )
        return found[0]
    if not (run / INGESTED).is_file():
        raise RunError(
            "is no run: it has no finished stage ingest",
            where=str(run),
            next_step="name the directory that `tinsmith build` printed, such as runs/NAME",
        )
    return run


def batches(path: Path, columns: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Yield a Parquet file's rows, of the asked columns those that it has; nothing where it is missing."""
    if not path.is_file():
        return
    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if columns is None or name in columns]
        for batch in file.iter_batches(_BATCH, columns=names):
            yield pa.Table.from_batches([batch])


def rows_where(
    path: Path, column: str, values: Collection[str], *, text: bool = False
) -> list[dict[str, Any]]:
    """Return the rows of a table whose column is one of the values; their text only where asked for."""
    wanted, found = pa.array(sorted(values), pa.string()), []
    for table in batches(path):
        kept = table if text else table.drop_columns([n for n in ("text",) if n in table.column_names])
        found += kept.filter(pc.is_in(table[column], wanted)).to_pylist()
    return found


def mentions(root: Path, doc_ids: Collection[str]) -> dict[str, int]:
    """Return the files of a run that name one of the documents, with the number of their rows that do."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.name == FORGOTTEN or not path.is_file():
            continue
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as file:
                count = sum(any(doc_id in line for doc_id in doc_ids) for line in file)
        elif path.suffix == ".parquet":
            count = sum(_naming(table, doc_ids) for table in batches(path))
        else:
            continue
        if count:
            found[path.relative_to(root).as_posix()] = count
    return found


def _naming(table: pa.Table, doc_ids: Collection[str]) -> int:
    columns = [table[f.name] for f in table.schema if f.name != "text" and pa.types.is_string(f.type)]
    masks = [
        pc.fill_null(pc.match_substring(column, doc_id), False) for column in columns for doc_id in doc_ids
    ]
    return int(pc.sum(functools.reduce(pc.or_, masks)).as_py() or 0) if masks and len(table) else 0


def jsonl_where(path: Path, column: str, values: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file whose field is one of the values; none where it is missing."""
    return [row for row in read_jsonl(path) if row.get(column) in values] if path.is_file() else []


def made_from(row: dict[str, Any]) -> list[str]:
    """Return the ids of the documents that a synthetic one was written from; none of any other."""
    try:
        said = json.loads(row.get("meta") or "{}").get("from", [])
    except (ValueError, AttributeError):
        return []
    if isinstance(said, dict):
        said = said.get("doc_id", [])
    return [said] if isinstance(said, str) else [each for each in said if isinstance(each, str)]


def matches_any(column: pa.ChunkedArray, patterns: Collection[str]) -> pa.ChunkedArray:
    """Say of each text whether one of some regular expressions (RE2, any case) occurs in it."""
    # One after the other: alternatives in one expression make RE2 a hundred times slower.
    found = [
        pc.fill_null(pc.match_substring_regex(column, pattern, ignore_case=True), False)
        for pattern in patterns
    ]
    return functools.reduce(pc.or_, found) if found else pc.equal(pc.binary_length(column), operator.neg(1))
