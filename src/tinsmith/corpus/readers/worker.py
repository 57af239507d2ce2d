"""The reader process: one JSON request per line on standard input, one JSON answer per line on standard output.

Pipes instead of multiprocessing: nothing is pickled, the caller's main module is not imported again, and a child
that hangs or dies harms nobody.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tinsmith.corpus.read import ReadResult, read_file

Reader = Callable[..., ReadResult]

# A file that needs more memory than this is a bomb or exposes a defect.
_MAX_MEMORY_BYTES = 4 * 1024**3
# The parent enforces the time limit. If it is killed, this alarm ends a child that hangs.
_ALARM_GRACE_SECONDS = 5.0
READY = b"ready\n"


def serve(read: Reader = read_file) -> None:
    """Answer requests {path, seconds, text_field, max_bytes, ocr} until standard input ends."""
    answers = _claim_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory()
    os.write(answers, READY)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _ALARM_GRACE_SECONDS)
        path = Path(os.fsdecode(bytes.fromhex(request["path"])))
        options = {name: request[name] for name in ("text_field", "max_bytes", "ocr")}
        result = read(path, **options)
        _write_all(answers, json.dumps(result.to_json()).encode("ascii") + b"\n")
        signal.setitimer(signal.ITIMER_REAL, 0)


def _claim_stdout() -> int:
    """Reserve standard output for answers; what libraries print goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, _MAX_MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    serve()
