"""The cache directory, and the hashes of large files that are recorded in it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tinsmith.base.files import read_json, sha256_file, sha256_json, write_json

RECORDED_BYTES = 4_000_000  # a smaller file is read in a few milliseconds
# A file that changed so recently may change again within one tick of the file system's clock.
SETTLED_SECONDS = 2.0


def cache_directory() -> Path:
    """Return the cache directory: $TINSMITH_CACHE, else `tinsmith` in the user's cache directory."""
    home = os.environ.get("TINSMITH_CACHE")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinsmith"


def recorded_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; a large one with the stamp of a recorded hash is not read again.

    The kernel sets the time of the last change at each write, so only a change below the file system keeps the stamp.
    Use `sha256_file` where such a change matters.
    """
    stamp = file_stamp(path)
    if stamp[0] < RECORDED_BYTES:
        return sha256_file(path)
    record = cache_directory() / "hashes" / f"{sha256_json(str(path.absolute()))}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        known = read_json(record)
        if known["stamp"] == stamp:
            return str(known["sha256"])
    sha256 = sha256_file(path)
    settled = time.time() - SETTLED_SECONDS
    if max(stamp[1:3]) < settled * 1e9 and file_stamp(path) == stamp:
        # Without a record the file is read again the next time.
        with contextlib.suppress(OSError):
            _drop_missing(record.parent)
            write_json(record, {"path": str(path.absolute()), "stamp": stamp, "sha256": sha256})
    return sha256


def file_stamp(path: Path) -> list[int]:
    """Return a file's size in bytes, times of change of content and of status in nanoseconds, and inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _drop_missing(records: Path) -> None:
    """Remove the records of files that no longer exist."""
    for record in records.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if not Path(read_json(record)["path"]).exists():
                record.unlink()
