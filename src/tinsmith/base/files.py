"""Atomic files, JSON files, and hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

# A JSON object as it was parsed: passed through unread, or about to be checked field by field.
JsonObject = dict[str, Any]


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON (sorted keys, no white space)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write a file or directory to, then fsync it and rename it to `path`.

    On any failure the temporary is removed and `path` keeps its old content. A directory's old content is removed
    just before the rename, since a directory cannot be replaced in one step.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unique per thread too, so that two writers of the same path cannot move each other's file away.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    _remove(temporary)
    try:
        yield temporary
        for file in temporary.rglob("*") if temporary.is_dir() else [temporary]:
            if file.is_file():
                fsync(file)
        if temporary.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def fsync(path: Path) -> None:
    """Flush a file, or a directory's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new one, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. Raises ValueError for NaN and infinity."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line, atomically. Raises ValueError for NaN and infinity."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_atomic(path, "".join(lines))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of each line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def read_whole_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file that rows are appended to, without a last one that a kill cut off."""
    if not path.exists():
        return
    with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
        yield from read_jsonl(path)


def list_files(directory: Path) -> list[Path]:
    """Return all files below a directory, links to directories included, relative to it, sorted by name."""
    paths = (
        Path(parent, name)
        for parent, folders, names in os.walk(directory)
        for name in [*names, *(folder for folder in folders if os.path.islink(os.path.join(parent, folder)))]
    )
    return sorted(path.relative_to(directory) for path in paths)
