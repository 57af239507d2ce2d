"""Read the records of a person's files in order: CSV, JSON Lines, JSON and Parquet, also compressed with gzip."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from tinsmith.base.encoding import find_encoding
from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
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
    line_rows,
    parse_json,
    parse_lines,
    unique_names,
)

# Why a part of a file gives no record -> its explanation.
REASONS = {
    "damaged_record": "a line that is not a record, or a quote that is never closed",
    "uneven_row": "a row with more cells than the header has names",
    "repeated_header": "the header once more, between the rows",
    "too_many_values": "a record of more than 20,000 values",
}
_CHUNK = 1 << 20  # bytes
_HEAD = 65_536  # characters that hold the header of a table
_PEEK = 500  # rows that are compared with the header
_FITTED = 50  # rows that tell whether a delimiter fits
_LONG_NAME, _MANY_WORDS = 60, 6  # characters and words; a name with more is probably a text
_PARQUET_ROWS = 1024


@dataclass(frozen=True)
class Record:
    """A record: its file as the person wrote it, its line (in Parquet and JSON its place) from 1, and its fields."""

    source: str
    row: int
    fields: JsonObject


@dataclass(frozen=True)
class Reject:
    """A part of a file that gives no record, or a record that gives no example, and why."""

    source: str
    row: int
    reason: str
    detail: str = ""


def read_records(name: str) -> Iterator[Record | Reject]:
    """Yield the records of a file in order, and the parts that give none; nothing is left out but blank lines.

    A name in the header is made unique and never empty: a second `text` is `text_2`, an empty third one `column_3`.
    Raises RecipeError for a file that cannot be opened, that holds no table, or that has no header.
    """
    path = Path(name).expanduser()
    try:
        for row, value in _numbered(path):
            yield _record(name, row, value)
    except OSError as error:
        _refuse(name, f"cannot be read ({error.strerror or error})", "check the path")
    except csv.Error as error:
        _refuse(name, f"is not a table ({error})", "save it as CSV in UTF-8")
    except _NoTable as error:
        _refuse(name, *error.args)


class _NoTable(Exception):
    """A file holds no records: what is wrong, and what to do."""


def _refuse(name: str, what: str, next_step: str) -> NoReturn:
    raise RecipeError(what, where=name, next_step=next_step) from None


def _record(name: str, row: int, value: Any) -> Record | Reject:
    if isinstance(value, Reject):
        return Reject(name, row, value.reason, value.detail)
    if not isinstance(value, dict):
        return Reject(name, row, "damaged_record")
    try:
        fields = json_safe(value)
    except ValueError:
        return Reject(name, row, "too_many_values")
    # NaN is how some libraries write an empty cell.
    return Record(name, row, {key: None if value[key] != value[key] else fields[key] for key in fields})


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb")


def _chunks(path: Path) -> Iterator[bytes]:
    with _open(path) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _numbered(path: Path) -> Iterator[Numbered]:
    with _open(path) as file:
        start = file.read(4)
    if start == b"PAR1":
        yield from _parquet(path)
        return
    if start.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        raise _NoTable("is a workbook or an archive, which is not read here", "save the sheet as CSV")
    try:
        encoding = find_encoding(lambda: _chunks(path))
    except ValueError:
        raise _NoTable("is neither text nor Parquet", "give CSV, JSON Lines, JSON or Parquet") from None
    with io.TextIOWrapper(_open(path), encoding.name, encoding.errors, newline="") as file:
        head = file.read(_HEAD)
        begin = head.lstrip("\ufeff \t\r\n\x1e")
        if not begin:
            raise _NoTable("is empty", "write records into it, or leave it out")
        file.seek(0)
        yield from _json(file) if begin[0] in "{[" else _table(file, head, path)


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow
    import pyarrow.parquet

    try:
        with _open(path) as data, pyarrow.parquet.ParquetFile(data) as file:
            batches = file.iter_batches(batch_size=_PARQUET_ROWS)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except pyarrow.ArrowException as error:
        raise _NoTable(f"is damaged ({error})", "write the Parquet file again") from None


def _json(file: io.TextIOWrapper) -> Iterator[Numbered]:
    """Yield an object a line where the first line of several is one; else the records of the whole text."""
    numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip("\ufeff \t\r\n\x1e"))
    two = list(itertools.islice(numbered, 2))
    if len(two) == 2 and isinstance(parse_json(two[0][1]), dict):
        yield from ((number, parse_json(line)) for number, line in itertools.chain(two, numbered))
        return
    file.seek(0)
    text = file.read()
    value = parse_json(text)
    if value is UNREADABLE:
        yield from parse_lines(text)
    elif isinstance(value, dict):
        lists = [each for each in value.values() if isinstance(each, list) and _all_objects(each)]
        columns = list(value.values()) if len(value) > 1 and _all_objects(list(value.values())) else []
        if columns and all(column.keys() == columns[0].keys() for column in columns):
            # As pandas writes a table: by column, then by row.
            lists = [[{name: value[name][row] for name in value} for row in columns[0]]]
        yield from enumerate(lists[0] if len(lists) == 1 else [value], 1)
    else:
        yield from enumerate(value, 1)


def _all_objects(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, dict) for value in values)


def _table(file: io.TextIOWrapper, head: str, path: Path) -> Iterator[Numbered]:
    """Yield the rows of a table with a header in its first line, by the line in the file."""
    begin = head.lstrip("\ufeff\r\n")
    named = NAMED_DELIMITER.match(begin)
    body = begin[named.end() :] if named else begin
    skipped = head[: len(head) - len(body)]
    tabs = "\t" if ".tsv" in path.suffixes else ""
    choices = named[1] if named else tabs or DELIMITERS
    delimiter = max(choices, key=lambda each: _fit(body, each))
    header = csv_header(body, Dialect(delimiter))
    names = unique_names(header)
    before = len(LINE_END.findall(skipped))
    file.read(len(skipped))
    # Where each line is a row, a quote that nothing closes is part of a text and takes no further lines with it.
    lines = delimiter == "\t" and all(line.count("\t") == len(names) - 1 for line in file if line.strip())
    file.seek(0)
    file.read(len(skipped))
    rows = iter(line_rows(file, delimiter, names) if lines else csv_rows(file, Dialect(delimiter), names))
    peeked = list(itertools.islice(rows, _PEEK))
    _expect_header(header, [list(row.values()) for _, row in peeked if row is not UNREADABLE])
    for number, row in itertools.chain(peeked, rows):
        yield number + before, _even(row, header, len(names))


def _fit(body: str, delimiter: str) -> tuple[bool, int]:
    """Say how well a delimiter fits: whether most rows have as many cells as the header has names, and how many."""
    dialect = Dialect(delimiter)
    width = len(csv_header(body, dialect))
    rows = csv_rows(io.StringIO(body, newline=""), dialect, [str(place) for place in range(width)])
    even = [len(row) == width for _, row in itertools.islice(rows, _FITTED) if row is not UNREADABLE]
    return width > 1 and sum(even) >= len(even) / 2, width


def _even(row: Any, header: list[str], width: int) -> Any:
    if row is UNREADABLE:
        return row
    if "more" in row and isinstance(row["more"], list):
        return Reject("", 0, "uneven_row", f"{width + len(row['more'])} cells for {width} names")
    return Reject("", 0, "repeated_header") if list(row.values()) == header else row


def _expect_header(header: list[str], rows: list[list[Any]]) -> None:
    """Refuse a first line that is data: it has a text or a number, and a cell that is also a value below it."""
    if not any(
        len(name) > _LONG_NAME or len(name.split()) >= _MANY_WORDS or _is_number(name) for name in header
    ):
        return
    below = [row for row in rows if row != header]
    for place, name in enumerate(header):
        if name and any(len(row) > place and row[place] == name for row in below):
            raise _NoTable(
                f"has no header: its first line holds {json.dumps(name[:40], ensure_ascii=False)}, "
                "as lines below it do",
                "write the names of the columns into its first line, such as text,label",
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
