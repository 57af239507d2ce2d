"""Read many files in several processes, with a time limit per file and results in order."""

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
from tinsmith.base.cores import usable_cores
from tinsmith.base.errors import CorpusError
from tinsmith.base.files import sha256_file
from tinsmith.corpus.read import ReadResult
from tinsmith.corpus.readers.worker import READY

COMMAND = (sys.executable, "-P", "-m", "tinsmith.corpus.readers.worker")
# Results that wait for an earlier, slower file stay in memory, so readers are not further ahead than this.
_MAX_AHEAD = 256
_START_SECONDS = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileLimits:
    """Time and size limits per file, the field of a record with its text, and whether to recognise scans."""

    seconds: float = 60.0
    max_bytes: int = 200_000_000
    text_field: str = "text"
    ocr: bool = False


def read_files(
    paths: Sequence[Path], limits: FileLimits, *, workers: int = 0, command: Sequence[str] = ()
) -> Iterator[tuple[ReadResult, float]]:
    """Yield (result, seconds) for each path, in the order of `paths`.

    Args:
        paths: the files.
        limits: per file; one that takes longer ends as `timeout` and its process is replaced.
        workers: number of processes, 0 for one per core.
        command: starts a reader process; empty for the default.
    """
    pool = _Pool(paths, limits, command or COMMAND)
    try:
        yield from pool.run(min(workers or usable_cores(), len(paths)))
    finally:
        pool.close()


class _Worker:
    """One reader process and the file it reads."""

    def __init__(self, command: Sequence[str]) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process runs
        # The child imports this package from the same place, installed or not.
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

    def send(self, index: int, path: Path, limits: FileLimits) -> None:
        """Send a file to the process."""
        self.index, self.started = index, time.monotonic()
        self.deadline = self.started + limits.seconds
        request = {
            "path": os.fsencode(path).hex(),
            "seconds": limits.seconds,
            "max_bytes": limits.max_bytes,
            "text_field": limits.text_field,
            "ocr": limits.ocr,
        }
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
        except BrokenPipeError:
            # It died between two files. receive() sees the end of its output, and the file counts as crashed.
            return

    def receive(self) -> bytes | None:
        """Return a line once it is complete, b"" if the process has ended, else None."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), _CHUNK)
        self.received += chunk
        if not chunk:
            return b""
        if not chunk.endswith(b"\n"):
            return None
        line, self.received = bytes(self.received), bytearray()
        return line

    def last_errors(self) -> str:
        """Return the end of the process's standard error."""
        self.errors.seek(0)
        return self.errors.read()[-2000:].decode("utf-8", "replace").strip()

    def end(self) -> int:
        """Kill the process if it still runs, and return its exit code."""
        self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            assert stream is not None
            stream.close()
        return code


class _Pool:
    def __init__(self, paths: Sequence[Path], limits: FileLimits, command: Sequence[str]) -> None:
        self.paths, self.limits, self.command = paths, limits, command
        self.selector = selectors.DefaultSelector()
        self.workers: list[_Worker] = []
        self.next_in = 0  # index of the next path to send
        self.next_out = 0  # index of the next result to yield
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
            if self.next_in >= min(len(self.paths), self.next_out + _MAX_AHEAD):
                return
            if worker.ready and worker.index is None:
                worker.send(self.next_in, self.paths[self.next_in], self.limits)
                self.next_in += 1

    def _listen(self) -> None:
        busy = [worker for worker in self.workers if worker.index is not None or not worker.ready]
        wait = min((worker.deadline for worker in busy), default=time.monotonic()) - time.monotonic()
        for key, _ in self.selector.select(max(wait, 0.0)):
            self._receive(key.data)
        now = time.monotonic()
        for worker in [worker for worker in self.workers if worker in busy and now >= worker.deadline]:
            if worker.index is not None:
                self._replace(worker, "timeout", f"{self.limits.seconds:g} s")
            elif not worker.ready:
                self._fail(worker)

    def _receive(self, worker: _Worker) -> None:
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
        """End a process that hangs or died, record why, and start another while there is work."""
        index, errors = worker.index, worker.last_errors()
        self.selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        code = worker.end()
        self.workers.remove(worker)
        if index is not None:
            sha256, size = _identify(self.paths[index])
            detail = detail or _exit_reason(code, errors)
            self._finish(worker, ReadResult(sha256, size, "", reason, detail))
        if self.next_in < len(self.paths):
            self._start()

    def _fail(self, worker: _Worker) -> None:
        raise CorpusError(
            f"a reader process does not start: {_last_line(worker.last_errors()) or 'it wrote no error'}",
            where="ingest",
            next_step="reinstall tinsmith with its dependencies",
        )


def _exit_reason(code: int, errors: str) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}: {_last_line(errors)}"[:300]


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else ""


def _identify(path: Path) -> tuple[str, int]:
    """Return SHA-256 and size, or ("", 0) if the file no longer exists."""
    try:
        return sha256_file(path), path.stat().st_size
    except OSError:
        return "", 0
