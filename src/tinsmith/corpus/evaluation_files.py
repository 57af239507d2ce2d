"""The items of evaluation files: every text that a record holds, joined."""

from __future__ import annotations

import csv
import glob
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tinsmith.base.errors import CorpusError

_WHERE = "refine.contamination.files"


class Item(NamedTuple):
    """A text that a model is to be judged by: its file's name, its own name in it, and what it says."""

    file: str
    name: str
    text: str


def find_files(patterns: Iterable[str]) -> list[Path]:
    """Return the files that paths and globs name, sorted. Raises CorpusError for a pattern that names none."""
    found: set[Path] = set()
    for pattern in patterns:
        paths = [Path(path) for path in glob.glob(str(Path(pattern).expanduser()), recursive=True)]
        files = [path for path in paths if path.is_file()]
        if not files:
            raise CorpusError(
                f"{pattern}: there is no such file", where=_WHERE, next_step="name a file, or a glob of files"
            )
        found.update(files)
    return sorted(found)


def read_items(patterns: Iterable[str]) -> Iterator[Item]:
    """Yield the items of all files. Raises CorpusError for a file that is not there or is not what it is named."""
    for path in find_files(patterns):
        reader = _READERS.get(path.suffix.lower(), _text)
        try:
            for name, text in reader(path):
                yield Item(path.name, name, text)
        except (OSError, ValueError, csv.Error) as error:
            raise CorpusError(
                f"{path}: cannot be read as {path.suffix or 'text'} ({error})",
                where=_WHERE,
                next_step="mend the file, or leave it out",
            ) from None


def _said(value: Any) -> Iterator[str]:
    """Yield every string that a value holds, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _said(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _said(inner)


def _rows(rows: Iterable[Any], word: str) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(rows, 1):
        yield f"{word} {number}", "\n".join(_said(row))


def _json(path: Path) -> Iterator[tuple[str, str]]:
    value = json.loads(path.read_text(encoding="utf-8-sig"))
    return _rows(value if isinstance(value, list) else [value], "item")


def _jsonl(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig") as file:
        yield from _rows((json.loads(line) for line in file if line.strip()), "line")


def _csv(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from _rows(csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), "row")


def _parquet(path: Path) -> Iterator[tuple[str, str]]:
    with pq.ParquetFile(path) as file:
        rows = (row for batch in file.iter_batches(256) for row in batch.to_pylist())
        yield from _rows(rows, "row")


def _text(path: Path) -> Iterator[tuple[str, str]]:
    yield "whole", path.read_text(encoding="utf-8-sig", errors="replace")


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, str]]]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
