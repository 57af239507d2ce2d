"""Read the items of evaluation files: all text of a record, joined."""

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


class EvaluationItem(NamedTuple):
    """A text used to evaluate a model: the name of its file, its name in the file, and the text."""

    file: str
    name: str
    text: str


def find_files(patterns: Iterable[str]) -> list[Path]:
    """Return the sorted files that paths and globs match. Raises CorpusError for a pattern without a match."""
    found: set[Path] = set()
    for pattern in patterns:
        paths = [Path(path) for path in glob.glob(str(Path(pattern).expanduser()), recursive=True)]
        files = [path for path in paths if path.is_file()]
        if not files:
            raise CorpusError(
                f"{pattern}: no such file", where=_WHERE, next_step="name a file, or a glob of files"
            )
        found.update(files)
    return sorted(found)


def read_items(patterns: Iterable[str]) -> Iterator[EvaluationItem]:
    """Yield the items of all files. Raises CorpusError for a file that is missing or not what its suffix says."""
    for path in find_files(patterns):
        reader = _READERS.get(path.suffix.lower(), _text)
        try:
            for name, text in reader(path):
                yield EvaluationItem(path.name, name, text)
        except (OSError, ValueError, csv.Error) as error:
            raise CorpusError(
                f"{path}: cannot be read as {path.suffix or 'text'} ({error})",
                where=_WHERE,
                next_step="repair the file, or leave it out",
            ) from None


def _strings(value: Any) -> Iterator[str]:
    """Yield every string inside a value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _records(records: Iterable[Any], unit: str) -> Iterator[tuple[str, str]]:
    for number, record in enumerate(records, 1):
        yield f"{unit} {number}", "\n".join(_strings(record))


def _json(path: Path) -> Iterator[tuple[str, str]]:
    value = json.loads(path.read_text(encoding="utf-8-sig"))
    return _records(value if isinstance(value, list) else [value], "item")


def _jsonl(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig") as file:
        yield from _records((json.loads(line) for line in file if line.strip()), "line")


def _csv(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from _records(csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), "row")


def _parquet(path: Path) -> Iterator[tuple[str, str]]:
    with pq.ParquetFile(path) as file:
        rows = (row for batch in file.iter_batches(256) for row in batch.to_pylist())
        yield from _records(rows, "row")


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
