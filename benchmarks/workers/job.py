"""What every worker shares: the job that it reads, its stopwatch and the result that it writes.

Imports the standard library and NumPy only, since it runs in each peer's environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Job:
    """One run of one subject. `data` is a JSON list of sequences of token ids; sequences keep their order.

    `batch` sequences make a step, `micro` of them a forward pass. `warmup` steps come before the timed `steps`.
    """

    out: str
    model: str
    data: str
    batch: int
    micro: int
    steps: int
    warmup: int = 0
    precision: str = "float32"
    trainable: str = "all"
    compiled: bool = False
    length: int = 512
    blocks: bool = True  # all sequences have `length` tokens, so nothing is padded
    learning_rate: float = 1e-4
    schedule: str = "constant"
    shuffle: bool = False
    seed: int = 0
    threads: int = 1
    seconds: float = 0.0  # a budget in time where the subject knows one
    save: str = ""  # where to save the trained model, or nowhere
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def sequences(self) -> list[list[int]]:
        """Read the token ids."""
        found: list[list[int]] = json.loads(Path(self.data).read_text())
        return found


def read_job() -> Job:
    """Read the job that the command line names."""
    return Job(**json.loads(Path(sys.argv[1]).read_text()))


class Stamps:
    """Wall and processor seconds: mark the start, then the end of each step."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def mark(self) -> None:
        """Note the time now."""
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())


def write_result(
    job: Job,
    stamps: Stamps,
    *,
    losses: Sequence[float],
    tokens: Sequence[int],
    packages: Sequence[str],
    **more: Any,
) -> None:
    """Write what was measured; `tokens` are the real tokens of each step, padding not counted."""
    seconds = np.diff(stamps.wall).tolist()
    assert len(seconds) == len(tokens) > job.warmup, (len(seconds), len(tokens), job.warmup)
    timed = slice(job.warmup, None)
    result = {
        "tokens": int(sum(tokens[timed])),
        "seconds": stamps.wall[-1] - stamps.wall[job.warmup],
        "cpu_seconds": stamps.cpu[-1] - stamps.cpu[job.warmup],
        "step_seconds": seconds,
        "step_tokens": [int(count) for count in tokens],
        "training_seconds": stamps.wall[-1] - stamps.wall[0],
        "setup_seconds": _age_seconds() - (time.perf_counter() - stamps.wall[0]),
        "losses": [float(loss) for loss in losses],
        "peak_rss_bytes": peak_rss_bytes(),
        "versions": {name: version(name) for name in packages},
        **more,
    }
    write_json(job, result)


def write_json(job: Job, result: dict[str, Any]) -> None:
    """Write the one JSON object that the runner waits for."""
    Path(job.out).write_text(json.dumps(result))


def _age_seconds() -> float:
    """Return how long this process lives, its imports included."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def peak_rss_bytes() -> int:
    """Return the most memory that this process ever had resident.

    The kernel's VmHWM starts over with each program; getrusage would remember the parent's peak.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel tells no VmHWM")
