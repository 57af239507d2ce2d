"""Read records (JSON, JSON Lines, CSV, Parquet): one document per record with the text field."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, NoReturn

from tinsmith.base.records import (
    DELIMITERS,
    NAMED_DELIMITER,
    Numbered,
    csv_header,
    csv_rows,
    json_safe,
    parse_lines,
)
from tinsmith.corpus.readers.base import DEFAULT_TEXT_FIELD, Limits, Loss, Part, Piece, Unreadable

_PARQUET_ROWS = 1024
_SHOWN_FIELDS, _SHOWN_LINES = 20, 5


def read_json(text: str, limits: Limits) -> list[Part]:
    """Read a JSON value, or an object per line.

    An object without the text field is one document as it stands, and so is text that is not JSON.
    Raises Unreadable: no_text_field for a list of objects without it, and for an object if the recipe names a field.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        records = parse_lines(text)
        objects = sum(isinstance(record, dict) for _, record in records)
        # Prose may begin with a bracket too, and hold a line of JSON.
        return _records(records, "line", limits) if 2 * objects > len(records) else [Piece(text)]
    if isinstance(value, list):
        if not any(isinstance(record, dict) for record in value):
            return [Piece(text)]
        return _records(enumerate(value, 1), "record", limits)
    common, wrapped = _unwrap(value, limits.text_field)
    if wrapped is not None:
        return _records(enumerate(wrapped, 1), "record", limits, common)
    if isinstance(value, dict) and limits.text_field not in value and limits.text_field != DEFAULT_TEXT_FIELD:
        _refuse(value)
    if not isinstance(value, dict) or limits.text_field not in value:
        return [Piece(text)]
    return _records([(1, value)], "record", limits)


def read_jsonl(text: str, limits: Limits) -> list[Part]:
    """Read an object per line, or objects over several lines; lines that are neither are losses.

    Raises Unreadable: no_text_field.
    """
    return _records(parse_lines(text), "line", limits)


def read_csv(text: str, limits: Limits) -> list[Part]:
    """Read a table with the text field in its header as records.

    A table without it is one document; if the recipe names a field, it is Unreadable: no_text_field.
    """
    text = text.lstrip("\ufeff\r\n")
    named = NAMED_DELIMITER.match(text)
    body = text[named.end() :] if named else text
    headers = {each: csv_header(body, each) for each in (named[1] if named else DELIMITERS)}
    wanted = limits.text_field.casefold()
    with_field = [each for each, names in headers.items() if wanted in map(str.casefold, names)]
    if not with_field:
        if limits.text_field != DEFAULT_TEXT_FIELD:
            _refuse(headers[max(headers, key=lambda each: len(headers[each]))])
        return [Piece(text)]
    delimiter = max(with_field, key=lambda each: len(headers[each]))
    names = headers[delimiter]
    exact = limits.text_field in names
    fields = [name if exact or name.casefold() != wanted else limits.text_field for name in names]
    try:
        return _records(csv_rows(io.StringIO(body, newline=""), delimiter, fields), "line", limits)
    except csv.Error as error:
        raise Unreadable("damaged", str(error)) from error


def read_parquet(data: bytes, limits: Limits) -> list[Part]:
    """Read the rows of a Parquet file. Raises Unreadable: damaged, unpacks_too_big, no_text_field."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        groups = (file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
        if (size := sum(groups)) > limits.max_unpacked_bytes:
            raise Unreadable("unpacks_too_big", f"{size} bytes unpacked")
        if limits.text_field not in file.schema_arrow.names:
            _refuse(file.schema_arrow.names)
        batches = file.iter_batches(batch_size=_PARQUET_ROWS)
        rows = enumerate((row for batch in batches for row in batch.to_pylist()), 1)
        return _records(rows, "row", limits)
    except pyarrow.ArrowException as error:
        raise Unreadable("damaged", str(error)) from error


def _unwrap(value: Any, text_field: str) -> tuple[dict[str, Any], list[Any] | None]:
    """Return an object's only list of records with the text field, and its other fields."""
    if not isinstance(value, dict) or text_field in value:
        return {}, None
    lists = {
        key: item
        for key, item in value.items()
        if isinstance(item, list) and any(isinstance(each, dict) and text_field in each for each in item)
    }
    if len(lists) != 1:
        return {}, None
    (key, records), *_ = lists.items()
    return {name: item for name, item in value.items() if name != key}, records


def _refuse(fields: Iterable[Any]) -> NoReturn:
    names = [str(name) for name in fields]
    more = f" and {len(names) - _SHOWN_FIELDS} more" if len(names) > _SHOWN_FIELDS else ""
    raise Unreadable("no_text_field", f"fields: {', '.join(names[:_SHOWN_FIELDS])}{more}"[:300])


def _records(
    records: Iterable[Numbered], unit: str, limits: Limits, common: dict[str, Any] | None = None
) -> list[Part]:
    """Return a piece for each record with text, and a loss for each reason why others have none.

    Raises Unreadable if there are objects and none has the text field.
    """
    pieces: list[Part] = []
    lost: dict[str, list[int]] = {}
    fields: dict[Any, None] = {}
    objects = with_field = 0
    for number, record in records:
        if not isinstance(record, dict):
            lost.setdefault("damaged_record", []).append(number)
            continue
        objects += 1
        if limits.text_field not in record:
            fields |= dict.fromkeys(record)
            lost.setdefault("no_text_field", []).append(number)
            continue
        with_field += 1
        value = record[limits.text_field]
        if isinstance(value, str) and value.strip():
            meta = {key: item for key, item in record.items() if key != limits.text_field}
            pieces.append(Piece(value, json_safe((common or {}) | meta), record=True))
        else:
            reason = "empty" if value is None or isinstance(value, str) else "damaged_record"
            lost.setdefault(reason, []).append(number)
    if objects and not with_field:
        _refuse(fields)
    return pieces + [_loss(reason, unit, numbers) for reason, numbers in lost.items()]


def _loss(reason: str, unit: str, numbers: list[int]) -> Loss:
    shown = ", ".join(map(str, numbers[:_SHOWN_LINES]))
    more = f" and {len(numbers) - _SHOWN_LINES} more" if len(numbers) > _SHOWN_LINES else ""
    return Loss(f"{unit}{'s' if len(numbers) > 1 else ''} {shown}{more}", reason, count=len(numbers))
