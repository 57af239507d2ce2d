"""Files that are either whole or absent, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON (sorted keys, no white space)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader, or a kill, finds the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each thread too: two that write the same answer must not move each other's file away.
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically; NaN and infinity are refused."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, atomically; NaN and infinity are refused."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_atomic(path, "".join(lines))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of each line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def list_files(directory: Path) -> list[Path]:
    """Return all files below a directory, links to directories included, relative to it, sorted by name."""
    found = (
        Path(folder, name)
        for folder, folders, names in os.walk(directory)
        for name in [*names, *(each for each in folders if os.path.islink(os.path.join(folder, each)))]
    )
    return sorted(path.relative_to(directory) for path in found)
