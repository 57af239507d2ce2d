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
from typing import Any, NamedTuple

DELIMITERS = ",;\t|"
NAMED_DELIMITER = re.compile(
    r'"?sep=(.)\1*"?[ \t]*(?:\r\n|\r|\n)', re.IGNORECASE
)  # the first line that Excel writes
UNREADABLE = object()  # stands for a record that cannot be parsed
Numbered = tuple[int, Any]  # the line or place of a record from 1, and the record
LINE_END = re.compile(r"\r\n|\r|\n")
_BETWEEN = re.compile(r"[\s,\ufeff]*")  # what may stand between JSON values; \s holds the record separator
_LIST = re.compile(r"[\s\ufeff]*\[(?=\s*\{)")
_LARGEST_CELL = 1 << 30  # characters
# Most metadata has a few dozen values; a YAML alias bomb has billions.
_MAX_VALUES = 20_000


def parse_lines(text: str) -> list[Numbered]:
    """Return an object per line, objects over several lines, or the members of a list that may be cut off."""
    records = [
        (number, parse_json(line)) for number, line in enumerate(LINE_END.split(text), 1) if line.strip()
    ]
    if any(record is UNREADABLE for _, record in records):
        records = max(records, _parse_stream(text), key=_objects)
    if len(records) == 1 and isinstance(records[0][1], list):
        records = list(enumerate(records[0][1], 1))
    return records


def _objects(records: list[Numbered]) -> int:
    return sum(isinstance(record, dict) for _, record in records)


def parse_json(line: str) -> Any:
    """Return a JSON value, or UNREADABLE. A name that comes twice is numbered: `text`, `text_2`."""
    try:
        # Programs write tabs into strings as they are.
        return _LENIENT.decode(line.strip().strip("\ufeff").strip())
    except (ValueError, RecursionError):
        return UNREADABLE


def unique_names(given: Iterable[str]) -> list[str]:
    """Return names that are neither empty nor given twice: `text`, `text_2`, `column_3`."""
    names: dict[str, None] = {}
    for place, name in enumerate(given, 1):
        unique = wanted = name or f"column_{place}"
        number = 2
        while unique in names:
            unique, number = f"{wanted}_{number}", number + 1
        names[unique] = None
    return list(names)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    return dict(zip(unique_names(name for name, _ in pairs), (value for _, value in pairs)))


_LENIENT = json.JSONDecoder(strict=False, object_pairs_hook=_object)
_STRICT = json.JSONDecoder(object_pairs_hook=_object)


_LONG = 1 << 16  # characters, after which what was read of a broken file is cut off


def _parse_stream(text: str) -> list[Numbered]:
    """Return JSON values that follow each other, each over any number of lines; a broken one is unreadable.

    A list of objects that is cut off gives its members. What follows a broken value is read from the next line that
    begins an object at its depth.
    """
    start = _LIST.match(text)
    position, counted, line = start.end() if start else 0, 0, 1
    records: list[Numbered] = []
    while (position := _between(text, position)) < len(text):
        if start and text[position] == "]":
            position += 1
            continue
        line += len(LINE_END.findall(text, counted, position))
        counted = position
        try:
            value, position = _STRICT.raw_decode(text, position)
        except (ValueError, RecursionError):
            value, position = UNREADABLE, _next_object(text, position)
        records.append((line, value))
        # An error costs as much as the text before it is long, since its line is counted.
        if value is UNREADABLE and position > _LONG:
            cut = _line_start(text, position)
            line += len(LINE_END.findall(text, counted, cut))
            text, position, counted = text[cut:], position - cut, 0
    return records


def _between(text: str, position: int) -> int:
    found = _BETWEEN.match(text, position)
    assert found is not None
    return found.end()


def _line_start(text: str, position: int) -> int:
    feed = text.rfind("\n", 0, position)
    return max(feed, text.rfind("\r", max(feed, 0), position)) + 1


def _next_object(text: str, position: int) -> int:
    begin = _line_start(text, position)
    indent = text[begin:position] if text[begin:position].isspace() else ""
    found = re.compile(rf"[\r\n]{indent}(?=\{{)").search(text, position)
    return found.end() if found else len(text)


class Dialect(NamedTuple):
    """How the cells of a table are divided and quoted."""

    delimiter: str
    quote: str = '"'
    escape: str | None = None

    def reader(self, lines: Iterable[str], *, strict: bool = False) -> Any:
        """Return a csv reader of lines; a strict one raises csv.Error for a quote that stands alone."""
        csv.field_size_limit(_LARGEST_CELL)
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            skipinitialspace=True,
            strict=strict,
        )


def csv_header(body: str, dialect: Dialect) -> list[str]:
    """Return the names in the first row of a table."""
    return [name.strip() for name in next(dialect.reader(io.StringIO(body, newline="")), [])]


def csv_rows(lines: Iterable[str], dialect: Dialect, fields: list[str], rest: str = "") -> Iterator[Numbered]:
    """Yield the rows below the header; lines from a quote on that is never closed are unreadable.

    So are the lines that such a quote takes in before the next quote. Cells beyond the header are in a list, `more`;
    if the last column is `rest`, they belong to its text, in which a delimiter stands unquoted. Raises csv.Error.
    """
    taken: list[str] = []

    def watched() -> Iterator[str]:
        # A strict reader alone tells the end of data within a quote, but it also refuses quotes that a cell may have.
        # So two lines are added, which are two rows unless a quote is open.
        for line in itertools.chain(lines, ["\n", dialect.delimiter]):
            taken.append(line)
            yield line

    reader = dialect.reader(watched())
    next(reader)
    taken.clear()
    first, last = reader.line_num + 1, ["", ""]
    waiting: list[Numbered] = []
    for last in reader:
        yield from waiting
        if len(taken) > 1 and _swallows(taken, dialect, len(fields)):
            waiting = [(number, UNREADABLE) for number in range(first, reader.line_num + 1)]
        else:
            waiting = [(first, _row(last, taken, dialect, fields, rest))] if last else []
        first = reader.line_num + 1
        taken.clear()
    if waiting and last != ["", ""]:
        yield from ((number, UNREADABLE) for number in range(waiting[0][0], reader.line_num - 1))


def _row(
    cells: list[str], lines: list[str], dialect: Dialect, fields: list[str], rest: str
) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(fields, cells))
    more = cells[len(fields) :]
    if more and rest and fields[-1] == rest:
        if len(lines) == 1 and dialect.quote not in lines[0]:
            return row | {rest: lines[0].split(dialect.delimiter, len(fields) - 1)[-1].strip()}
        return row | {rest: dialect.delimiter.join([row[rest], *more])}
    return row | {"more": more} if any(more) else row


def _swallows(lines: list[str], dialect: Dialect, width: int) -> bool:
    """Return whether a quote that is never closed took further rows into a cell.

    Then the next quote does not stand before a delimiter, and a line within the cell has as many cells as a row.
    """
    if not any(line.count(dialect.delimiter) >= width - 1 for line in lines[1:]):
        return False
    try:
        list(dialect.reader(lines, strict=True))
    except csv.Error:
        return True
    return False


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
