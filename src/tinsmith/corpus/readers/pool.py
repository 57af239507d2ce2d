"""Many files in several reader processes: time limits, replacements, results in order."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import tinsmith
from tinsmith.base.errors import CorpusError
from tinsmith.base.files import sha256_file
from tinsmith.corpus.read import ReadResult
from tinsmith.corpus.readers.worker import READY

COMMAND = (sys.executable, "-P", "-m", "tinsmith.corpus.readers.worker")
# Results that wait for an earlier, slower file are held in memory, so readers do not run further ahead.
_MAX_AHEAD = 256
_START_SECONDS = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Limit:
    """What one file may take, which field of a record is its text, and whether scans are recognised."""

    seconds: float = 60.0
    max_bytes: int = 200_000_000
    text_field: str = "text"
    ocr: bool = False


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_files(
    paths: Sequence[Path], limit: Limit, *, workers: int = 0, command: Sequence[str] = ()
) -> Iterator[tuple[ReadResult, float]]:
    """Yield (result, seconds) for each path, in the order of `paths` whatever the timing.

    Args:
        paths: the files.
        limit: per file; one that takes longer ends as `timeout` and its process is replaced.
        workers: processes, 0 for one per core.
        command: what starts a reader process; empty means our own.
    """
    pool = _Pool(paths, limit, command or COMMAND)
    try:
        yield from pool.run(min(workers or cpu_count(), len(paths)))
    finally:
        pool.close()


class _Worker:
    """One reader process and what it is at."""

    def __init__(self, command: Sequence[str]) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # The child finds the package where this process found it, installed or not.
        root = str(Path(tinsmith.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | {"PYTHONPATH": path},
            bufsize=0,
        )
        self.ready = False
        self.index: int | None = None
        self.received = bytearray()
        self.started = time.monotonic()
        self.deadline = self.started + _START_SECONDS

    def send(self, index: int, path: Path, limit: Limit) -> None:
        """Hand over a file."""
        self.index, self.started = index, time.monotonic()
        self.deadline = self.started + limit.seconds
        request = {
            "path": os.fsencode(path).hex(),
            "seconds": limit.seconds,
            "max_bytes": limit.max_bytes,
            "text_field": limit.text_field,
            "ocr": limit.ocr,
        }
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
        except BrokenPipeError:
            # It died between two files; reading its output finds the end and the file is counted as crashed.
            return

    def receive(self) -> bytes | None:
        """Return a whole line once there is one, b"" at the end of the process, None before."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), _CHUNK)
        self.received += chunk
        if not chunk:
            return b""
        if not chunk.endswith(b"\n"):
            return None
        line, self.received = bytes(self.received), bytearray()
        return line

    def last_words(self) -> str:
        """Return the end of what the process wrote as errors."""
        self.errors.seek(0)
        return self.errors.read()[-2000:].decode("utf-8", "replace").strip()

    def end(self) -> int:
        """Kill the process if it lives and return its exit code."""
        self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            assert stream is not None
            stream.close()
        return code


class _Pool:
    def __init__(self, paths: Sequence[Path], limit: Limit, command: Sequence[str]) -> None:
        self.paths, self.limit, self.command = paths, limit, command
        self.selector = selectors.DefaultSelector()
        self.workers: list[_Worker] = []
        self.waiting = 0
        self.next_out = 0
        self.done: dict[int, tuple[ReadResult, float]] = {}

    def run(self, workers: int) -> Iterator[tuple[ReadResult, float]]:
        for _ in range(workers):
            self._start()
        while self.next_out < len(self.paths):
            self._dispatch()
            self._listen()
            while self.next_out in self.done:
                yield self.done.pop(self.next_out)
                self.next_out += 1

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers.clear()
        self.selector.close()

    def _start(self) -> None:
        worker = _Worker(self.command)
        self.workers.append(worker)
        self.selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]

    def _dispatch(self) -> None:
        for worker in self.workers:
            if self.waiting >= min(len(self.paths), self.next_out + _MAX_AHEAD):
                return
            if worker.ready and worker.index is None:
                worker.send(self.waiting, self.paths[self.waiting], self.limit)
                self.waiting += 1

    def _listen(self) -> None:
        busy = [worker for worker in self.workers if worker.index is not None or not worker.ready]
        wait = min((worker.deadline for worker in busy), default=time.monotonic()) - time.monotonic()
        for key, _ in self.selector.select(max(wait, 0.0)):
            self._hear(key.data)
        now = time.monotonic()
        for worker in [worker for worker in self.workers if worker in busy and now >= worker.deadline]:
            if worker.index is not None:
                self._replace(worker, "timeout", f"{self.limit.seconds:g} s")
            elif not worker.ready:
                self._fail(worker)

    def _hear(self, worker: _Worker) -> None:
        line = worker.receive()
        if line is None:
            return
        if not worker.ready:
            if line != READY:
                self._fail(worker)
            worker.ready = True
        elif line:
            self._finish(worker, ReadResult(**json.loads(line)))
        else:
            self._replace(worker, "crashed", "")

    def _finish(self, worker: _Worker, result: ReadResult) -> None:
        assert worker.index is not None
        self.done[worker.index] = (result, time.monotonic() - worker.started)
        worker.index = None

    def _replace(self, worker: _Worker, reason: str, detail: str) -> None:
        """End a process that hangs or died, note why, and start another while there is work."""
        index, last_words = worker.index, worker.last_words()
        self.selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        code = worker.end()
        self.workers.remove(worker)
        if index is not None:
            hashed, size = _identity(self.paths[index])
            self._finish(
                worker, ReadResult(hashed, size, "", reason, detail or _how_it_ended(code, last_words))
            )
        if self.waiting < len(self.paths):
            self._start()

    def _fail(self, worker: _Worker) -> None:
        raise CorpusError(
            f"a reader process does not start: {_last_line(worker.last_words()) or 'no word from it'}",
            where="ingest",
            next_step="reinstall tinsmith with its dependencies",
        )


def _how_it_ended(code: int, last_words: str) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}: {_last_line(last_words)}"[:300]


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else ""


def _identity(path: Path) -> tuple[str, int]:
    """Return hash and size, or nothing where the file has gone meanwhile."""
    try:
        return sha256_file(path), path.stat().st_size
    except OSError:
        return "", 0
