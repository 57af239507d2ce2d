"""The gate before another machine: which requests may leave, and a record of those that did."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypedDict

from tinsmith.base.completion import Request
from tinsmith.base.files import read_whole_rows, write_jsonl
from tinsmith.llm.cache import request_key

WITHHELD = "withheld"  # the failure reason of requests that may not leave
RECORD = "sent.jsonl"


class SentRow(TypedDict):
    """A request that left: who asked, the host, its hash, the documents whose text stood in it, its bytes."""

    where: str
    host: str
    request: str
    documents: list[str]
    bytes: int


class Gate:
    """Let requests to a host pass only with permitted documents, within `most_bytes` in sum, and record each.

    The record outlives the process. A request is written down before it is sent, once, however often it is tried. One
    with a cached answer was sent by an earlier attempt.
    """

    def __init__(
        self, host: str, where: str, *, permitted: Collection[str], most_bytes: int, folder: Path
    ) -> None:
        self.host, self.where, self.permitted = host, where, permitted
        self.path, self._bytes_left = folder / RECORD, most_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._admitted: set[tuple[str, ...]] = set()
        self._recorded = {(row["request"], *row["documents"]) for row in read_record(self.path)}
        self.close()  # without a line that a kill cut off

    def close(self) -> None:
        """Sort the record, since threads write it in any order."""
        with self._lock:
            write_jsonl(
                self.path, sorted(read_record(self.path), key=lambda row: (row["request"], row["documents"]))
            )

    def refusal(self, identity: str, request: Request) -> str:
        """Return why a request may not leave; empty if it may."""
        if not request.documents:
            return "it does not say which documents stand in it"
        if kept := [name for name in request.documents if name not in self.permitted]:
            return f"may_leave does not list the label of {', '.join(kept[:3])}"
        key = (request_key(identity, request), *request.documents)
        if key not in self._admitted:
            if request.bytes > self._bytes_left:
                return "more bytes would leave than the plan says"
            self._admitted.add(key)
            self._bytes_left -= request.bytes
        return ""

    def record(self, identity: str, request: Request) -> None:
        """Write down that a request leaves, or that an earlier attempt sent it. Thread-safe."""
        key = (request_key(identity, request), *request.documents)
        row: SentRow = {
            "where": self.where,
            "host": self.host,
            "request": key[0],
            "documents": list(request.documents),
            "bytes": request.bytes,
        }
        with self._lock:
            if key in self._recorded:
                return
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._recorded.add(key)


def read_record(path: Path) -> Iterator[SentRow]:
    """Yield the rows of a record; a line that a kill cut off is left out."""
    yield from read_whole_rows(path)  # type: ignore[misc]
