"""Write rows of mixed values as CSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinsmith.base.files import JsonObject, atomic_path

ENDINGS = (".csv", ".jsonl", ".parquet")
_ROWS_AT_ONCE = 10_000


def write_table(path: Path, rows: Callable[[], Iterator[JsonObject]]) -> None:
    """Write rows, atomically, in the format of the path's ending; `rows` is called twice, to learn the columns first.

    Lists and objects are written as JSON where a cell holds text. A Parquet column of several types is text.
    """
    kinds: dict[str, set[type]] = {}
    for row in rows():
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    with atomic_path(path) as partial:
        writer = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}[path.suffix.lower()]
        writer(partial, rows(), kinds)


def _write_csv(path: Path, rows: Iterator[JsonObject], kinds: dict[str, set[type]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(kinds)
        table.writerows([_text(row.get(name)) for name in kinds] for row in rows)


def _write_jsonl(path: Path, rows: Iterator[JsonObject], kinds: dict[str, set[type]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_parquet(path: Path, rows: Iterator[JsonObject], kinds: dict[str, set[type]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}

    def column_type(found: set[type]) -> Any:
        held = found - {type(None)}
        return (
            pa.float64()
            if held == {int, float}
            else types.get(next(iter(held)), pa.string())
            if len(held) == 1
            else pa.string()
        )

    schema = pa.schema([(name, column_type(found)) for name, found in kinds.items()])
    text = {field.name for field in schema if field.type == pa.string()}
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            cells = [{name: _cell(row.get(name), name in text) for name in kinds} for row in batch]
            writer.write_table(pa.Table.from_pylist(cells, schema))


def _cell(value: Any, is_text: bool) -> Any:
    return _text(value) if is_text and value is not None else value


def _text(value: Any) -> str:
    """Return a value as the text of a cell: nothing for None, JSON for all but text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
