"""Read records (JSON, JSON Lines, CSV, Parquet): one document per record with the text field."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from tinsmith.base.records import (
    DELIMITERS,
    LINE_END,
    NAMED_DELIMITER,
    UNREADABLE,
    Dialect,
    Numbered,
    csv_header,
    csv_rows,
    json_safe,
    parse_json,
    parse_lines,
    unique_names,
)
from tinsmith.corpus.readers.base import DEFAULT_TEXT_FIELD, Limits, Loss, Part, Piece, Unreadable

_PARQUET_ROWS = 1024
_SHOWN_FIELDS, _SHOWN_LINES = 20, 5
_DEPTH = 5  # of the keys below which records are looked for
_HEAD = 65_536  # characters that hold a header
_HEADER_LINES = 20  # at the top of a table, of which one is its header
_FITTED_ROWS = 1000
_RARE_DELIMITERS = "^~:\x1f"
_ONE_COLUMN = "\x1f"  # a delimiter that does not stand in text
_BLANK_LINES = re.compile(r"(?:[ \t\ufeff]*(?:\r\n|\r|\n))*\ufeff?")
_BACKSLASH = re.compile(r"""\\(?:[",;\t|\\])|\\""")


def read_json(text: str, limits: Limits) -> list[Part]:
    """Read a JSON value, or an object per line; records may be below a key.

    An object without the text field is one document as it stands, and so is text that is not JSON.
    Raises Unreadable: no_text_field for a list of objects without it, and for an object if the recipe names a field.
    """
    value = parse_json(text)
    if value is UNREADABLE:
        records = parse_lines(text)
        objects = sum(isinstance(record, dict) for _, record in records)
        # Prose may begin with a bracket too, and hold a line of JSON.
        return (
            _records(records, "line", limits) if 2 * objects > len(records) else _one_text(text, "not JSON")
        )
    if parts := _from_value(value, "record", limits):
        return parts
    if isinstance(value, list) and any(isinstance(record, dict) for record in value):
        return _records(enumerate(value, 1), "record", limits)
    if isinstance(value, dict) and limits.text_field != DEFAULT_TEXT_FIELD:
        _refuse(value)
    return _one_text(text, f"JSON without a field {limits.text_field}")


def read_jsonl(text: str, limits: Limits) -> list[Part]:
    """Read an object per line, or objects over several lines; lines that are neither are losses.

    Raises Unreadable: no_text_field.
    """
    records = parse_lines(text)
    parts = _from_value(records[0][1], "line", limits) if len(records) == 1 else None
    return parts or _records(records, "line", limits)


def read_csv(text: str, limits: Limits) -> list[Part]:
    """Read a table with the text field in its header as records, whatever its delimiter, quotes and escapes.

    A table without it is one document; if the recipe names a field, it is Unreadable: no_text_field.
    """
    whole = text.rstrip("\x1a")
    start = _skip_blank(whole, 0)
    if named := NAMED_DELIMITER.match(whole, start):
        start = _skip_blank(whole, named.end())
    delimiters = named[1] if named else DELIMITERS + _RARE_DELIMITERS
    header = _find_header(whole, start, delimiters, limits.text_field)
    if header is None:
        if limits.text_field != DEFAULT_TEXT_FIELD:
            head = whole[start : start + _HEAD]
            widest = max((csv_header(head, Dialect(each)) for each in delimiters), key=len)
            _refuse(widest)
        return _one_text(text, f"no column is named {limits.text_field}")
    begin, delimiter = header
    above = len(LINE_END.findall(whole, 0, begin))
    body = whole[begin:]
    try:
        rows = ((number + above, row) for number, row in _rows(body, delimiter, limits.text_field))
        parts = _records(rows, "line", limits)
    except csv.Error as error:
        raise Unreadable("damaged", str(error)) from error
    lines = enumerate(
        LINE_END.split(whole[start:begin]), above - len(LINE_END.findall(whole, start, begin)) + 1
    )
    titles = [number for number, line in lines if line.strip()]
    return parts + ([_loss("no_text_field", "line", titles, "above the header")] if titles else [])


def _one_text(text: str, why: str) -> list[Part]:
    return [Piece(text, note=f"taken as one text: {why}")]


def _skip_blank(text: str, start: int) -> int:
    found = _BLANK_LINES.match(text, start)
    assert found is not None
    return found.end()


def _find_header(text: str, start: int, delimiters: str, field: str) -> tuple[int, str] | None:
    """Return where the header with the field begins, and its delimiter. Above it there may be titles and comments."""
    widest = 0
    for _ in range(_HEADER_LINES):
        headers = {each: csv_header(text[start : start + _HEAD], Dialect(each)) for each in delimiters}
        with_field = {each: names for each, names in headers.items() if _named(names, field)}
        if with_field:
            delimiter = max(with_field, key=lambda each: len(with_field[each]))
            width = len(with_field[delimiter])
            if width > widest:
                return start, delimiter if width > 1 else _ONE_COLUMN
        end = LINE_END.search(text, start)
        if end is None:
            return None
        comment = text.startswith("#", start)
        widest = max(widest, 1, 0 if comment else max(map(len, headers.values())))
        start = _skip_blank(text, end.end())
    return None


def _rows(body: str, delimiter: str, field: str) -> Iterator[Numbered]:
    """Yield the rows of a table in the dialect in which the fewest are uneven or unreadable."""
    plain = Dialect(delimiter)
    ways = [(plain, body)]
    if '\\"' in body or f"\\{delimiter}" in body:
        # Only quotes, delimiters and backslashes are escaped: another backslash is a character.
        escaped = _BACKSLASH.sub(lambda found: found[0] if len(found[0]) > 1 else "\\\\", body)
        ways.append((Dialect(delimiter, escape="\\"), escaped))
    if f"{delimiter}'" in body or "\n'" in body:
        ways.append((Dialect(delimiter, quote="'"), body))
    dialect, lines = min(ways, key=lambda way: _uneven(*way)) if len(ways) > 1 else ways[0]
    names = _fields(csv_header(lines, dialect), field)
    yield from csv_rows(io.StringIO(lines, newline=""), dialect, names, field)


def _uneven(dialect: Dialect, body: str) -> int:
    names = unique_names(csv_header(body, dialect))
    rows = itertools.islice(csv_rows(io.StringIO(body, newline=""), dialect, names), _FITTED_ROWS)
    return sum(row is UNREADABLE or len(row) != len(names) or "more" in row for _, row in rows)


def _fields(header: list[str], field: str) -> list[str]:
    """Return the names of the columns, of which one is the field itself in its own spelling."""
    name = _named(header, field)
    return unique_names(field if each == name else each for each in header)


def read_parquet(data: bytes, limits: Limits) -> list[Part]:
    """Read the rows of a Parquet file. Raises Unreadable: damaged, unpacks_too_big, no_text_field."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        groups = (file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
        if (size := sum(groups)) > limits.max_unpacked_bytes:
            raise Unreadable("unpacks_too_big", f"{size} bytes unpacked")
        if not _named(file.schema_arrow.names, limits.text_field):
            _refuse(file.schema_arrow.names)
        batches = file.iter_batches(batch_size=_PARQUET_ROWS)
        rows = enumerate((row for batch in batches for row in batch.to_pylist()), 1)
        return _records(rows, "row", limits)
    except pyarrow.ArrowException as error:
        raise Unreadable("damaged", str(error)) from error


def _named(names: Iterable[Any], field: str) -> str:
    """Return the name that is the field, in whatever case if no other is exactly so; empty if there is none."""
    names = list(names)
    folded = field.casefold()
    return field if field in names else next((name for name in names if str(name).casefold() == folded), "")


class _Found(NamedTuple):
    """Records of a JSON value, and the names of the parts beside them that hold none."""

    records: list[Any]
    unread: list[str]


def _find_records(value: Any, field: str, depth: int = _DEPTH) -> _Found | None:
    """Return the records with the text field in a JSON value: a list, or the lists below its keys; None without any.

    Records take over the plain values that stand beside their list.
    """
    if isinstance(value, dict) and len(value) > 1:
        named = all(isinstance(item, dict) and _named(item, field) for item in value.values())
        value = list(value.values()) if named else value
    if isinstance(value, list):
        holds = any(isinstance(record, dict) and _named(record, field) for record in value)
        return _Found(value, []) if holds else None
    if not isinstance(value, dict) or depth == 0:
        return None
    below = {key: found for key, item in value.items() if (found := _find_records(item, field, depth - 1))}
    if not below:
        return None
    beside = {key: item for key, item in value.items() if not isinstance(item, dict | list)}
    records = itertools.chain.from_iterable(found.records for found in below.values())
    unread = [key for key, item in value.items() if item and key not in below and key not in beside]
    unread += itertools.chain.from_iterable(found.unread for found in below.values())
    return _Found([beside | record if isinstance(record, dict) else record for record in records], unread)


def _from_value(value: Any, unit: str, limits: Limits) -> list[Part] | None:
    """Return the parts of a JSON value that holds records with the text field or is one, else None."""
    if isinstance(value, dict) and _named(value, limits.text_field):
        return _records([(1, value)], unit, limits)
    found = _find_records(value, limits.text_field)
    if found is None:
        return None
    unread = [Loss(f"key {key}", "no_text_field") for key in found.unread]
    return _records(enumerate(found.records, 1), "record", limits) + unread


def _refuse(fields: Iterable[Any]) -> NoReturn:
    names = [str(name) for name in fields]
    more = f" and {len(names) - _SHOWN_FIELDS} more" if len(names) > _SHOWN_FIELDS else ""
    raise Unreadable("no_text_field", f"fields: {', '.join(names[:_SHOWN_FIELDS])}{more}"[:300])


def _records(records: Iterable[Numbered], unit: str, limits: Limits) -> list[Part]:
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
        name = limits.text_field if limits.text_field in record else _named(record, limits.text_field)
        if not name:
            fields |= dict.fromkeys(record)
            lost.setdefault("no_text_field", []).append(number)
            continue
        with_field += 1
        value = record[name]
        if isinstance(value, str) and value.strip():
            meta = {key: item for key, item in record.items() if key != name}
            pieces.append(Piece(value, json_safe(meta), record=True))
        else:
            reason = "empty" if value is None or isinstance(value, str) else "damaged_record"
            lost.setdefault(reason, []).append(number)
    if objects and not with_field:
        _refuse(fields)
    return pieces + [_loss(reason, unit, numbers) for reason, numbers in lost.items()]


def _loss(reason: str, unit: str, numbers: list[int], detail: str = "") -> Loss:
    shown = ", ".join(map(str, numbers[:_SHOWN_LINES]))
    more = f" and {len(numbers) - _SHOWN_LINES} more" if len(numbers) > _SHOWN_LINES else ""
    return Loss(f"{unit}{'s' if len(numbers) > 1 else ''} {shown}{more}", reason, detail, len(numbers))
