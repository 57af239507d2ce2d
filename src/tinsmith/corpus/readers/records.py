"""Read records (JSON, JSON Lines, CSV, Parquet): one document per record with the text field."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from tinsmith.corpus.readers.base import Limits, Piece, Unreadable, json_safe

_PARQUET_ROWS = 1024


def read_json(text: str, limits: Limits) -> list[Piece]:
    """Read a JSON value or an object per line; without the text field, the whole file is one document."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return read_jsonl(text, limits)
    records = value if isinstance(value, list) else [value]
    return _pieces(records, limits) or [Piece(text)]


def read_jsonl(text: str, limits: Limits) -> list[Piece]:
    """Read an object per line, skipping other lines; without the text field, the whole file is one document."""
    records = []
    for line in text.split("\n"):
        if line.strip().startswith("{"):
            try:
                records.append(json.loads(line))
            except (ValueError, RecursionError):
                continue
    return _pieces(records, limits) or [Piece(text)]


def read_csv(text: str, limits: Limits) -> list[Piece]:
    """Read a table with the text field in its header as records, any other as one document."""
    header, _, _ = text.lstrip("\ufeff\r\n").partition("\n")
    if limits.text_field not in header:
        return [Piece(text)]
    csv.field_size_limit(max(len(text), 131_072))
    delimiter = max(",;\t|", key=header.count)
    rows = csv.DictReader(io.StringIO(text.lstrip("\ufeff\r\n"), newline=""), delimiter=delimiter)
    if limits.text_field not in (rows.fieldnames or ()):
        return [Piece(text)]
    try:
        return _pieces(rows, limits) or [Piece(text)]
    except csv.Error as error:
        raise Unreadable("damaged", str(error)) from error


def read_parquet(data: bytes, limits: Limits) -> list[Piece]:
    """Read the rows of a Parquet file. Raises Unreadable: damaged, unpacks_too_big, no_text_field."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        groups = (file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
        if (size := sum(groups)) > limits.max_unpacked_bytes:
            raise Unreadable("unpacks_too_big", f"{size} bytes unpacked")
        if limits.text_field not in file.schema_arrow.names:
            raise Unreadable("no_text_field", f"columns: {', '.join(file.schema_arrow.names)[:200]}")
        batches = file.iter_batches(batch_size=_PARQUET_ROWS)
        return [piece for batch in batches for piece in _pieces(batch.to_pylist(), limits)]
    except pyarrow.ArrowException as error:
        raise Unreadable("damaged", str(error)) from error


def _pieces(records: Iterable[Any], limits: Limits) -> list[Piece]:
    pieces = []
    for record in records:
        text = record.get(limits.text_field) if isinstance(record, dict) else None
        if isinstance(text, str) and text.strip():
            # csv stores cells beyond the header under None.
            meta = {key or "more": value for key, value in record.items() if key != limits.text_field}
            pieces.append(Piece(text, json_safe(meta)))
    return pieces
