"""Records in text: JSON values, a JSON object a line, rows of CSV; each with its line or place from 1."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

DELIMITERS = ",;\t|"
NAMED_DELIMITER = re.compile(r"sep=(.)\r?\n")  # the first line that Excel writes
UNREADABLE = object()  # stands for a record that cannot be parsed
Numbered = tuple[int, Any]  # the line or place of a record from 1, and the record
_LINE_END = re.compile(r"\r\n|\r|\n")
_LARGEST_CELL = 1 << 30  # characters
# Most metadata has a few dozen values; a YAML alias bomb has billions.
_MAX_VALUES = 20_000


def parse_lines(text: str) -> list[Numbered]:
    """Return an object per line, objects over several lines, or the members of a list."""
    records = [
        (number, parse_json(line)) for number, line in enumerate(_LINE_END.split(text), 1) if line.strip()
    ]
    if any(record is UNREADABLE for _, record in records):
        records = _parse_stream(text) or records
    if len(records) == 1 and isinstance(records[0][1], list):
        records = list(enumerate(records[0][1], 1))
    return records


def parse_json(line: str) -> Any:
    """Return a JSON value, or UNREADABLE."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return UNREADABLE


def _parse_stream(text: str) -> list[Numbered]:
    """Return JSON values that follow each other, each over any number of lines; none if text is anything else."""
    decoder, position, records = json.JSONDecoder(), 0, []
    while rest := re.compile(r"\S").search(text, position):
        try:
            value, position = decoder.raw_decode(text, rest.start())
        except (ValueError, RecursionError):
            return []
        records.append((text.count("\n", 0, rest.start()) + 1, value))
    return records


def csv_header(body: str, delimiter: str) -> list[str]:
    """Return the names in the first row of a table."""
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, skipinitialspace=True)
    return [name.strip() for name in next(reader, [])]


def csv_rows(lines: Iterable[str], delimiter: str, fields: list[str]) -> Iterator[Numbered]:
    """Yield the rows below the header; lines from a quote on that is never closed are unreadable.

    Cells beyond the header are in a list, `more`. Raises csv.Error.
    """
    csv.field_size_limit(_LARGEST_CELL)
    # A strict reader alone tells the end of data within a quote, but it also refuses quotes that a cell may have. So
    # two lines are added, which are two rows unless a quote is open.
    ended = itertools.chain(lines, ["\n", delimiter])
    reader = csv.reader(ended, delimiter=delimiter, skipinitialspace=True)
    next(reader)
    first, last = reader.line_num + 1, ["", ""]
    waiting: Numbered | None = None
    for last in reader:
        if waiting:
            yield waiting
        row: dict[str, Any] = dict(zip(fields, last))
        more = {"more": last[len(fields) :]} if len(last) > len(fields) else {}
        waiting = (first, row | more) if last else None
        first = reader.line_num + 1
    if waiting and last != ["", ""]:
        yield from ((number, UNREADABLE) for number in range(waiting[0], reader.line_num - 1))


def line_rows(lines: Iterable[str], delimiter: str, fields: list[str]) -> Iterator[Numbered]:
    """Yield the rows below the header of a table with a row in each line; a quote may stand alone in a cell."""
    for number, line in itertools.islice(enumerate(lines, 1), 1, None):
        if not line.strip():
            continue
        text = line.rstrip("\r\n")
        try:
            cells = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True))
        except csv.Error:
            cells = text.split(delimiter)
        yield number, dict(zip(fields, cells))


def json_safe(value: Any) -> Any:
    """Return a value as JSON: dates as ISO text, infinities and NaN as text, bytes as their size.

    Raises:
        ValueError: the value has more than 20,000 parts.
    """
    budget = [_MAX_VALUES]
    return _safe(value, budget)


def _safe(value: Any, budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError("metadata with too many values")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _safe(item, budget) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_safe(item, budget) for item in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
