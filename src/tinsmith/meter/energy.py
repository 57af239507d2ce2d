"""Measure the time, energy and memory of a block of code; energy is a range with the name of its method."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from tinsmith.meter.counters import Counter, open_gpu, open_rapl
from tinsmith.meter.machine import describe_cpu

# (low, central, high) for a busy core with its share of cache and memory controller. Low: server processors with 96
# or more cores (360 W / 96 is 3.8 W, part of it idle power). High: desktop processors at full clock. Central: 32 to 64.
BUSY_WATTS_PER_CORE = (3.0, 6.0, 12.0)
# Power of memory, board, fans and power supply even when idle, per core that this machine shows.
IDLE_WATTS_PER_CORE = (0.5, 1.5, 4.0)
# Factors for the upper bound: RAPL covers processor and often memory, but neither board nor power supply.
UNSEEN_BY_RAPL = 1.35
UNSEEN_BY_NVML = 1.1


@dataclass(frozen=True)
class Reading:
    """What a block of code used: joules, wall-clock and processor seconds, peak memory of the process tree."""

    joules_low: float
    joules: float
    joules_high: float
    method: str
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int

    def __add__(self, other: Reading) -> Reading:
        """Add a later attempt: sum the amounts, keep the higher peak, name both methods."""
        methods = (
            [self.method] if other.method in self.method.split("; then ") else [self.method, other.method]
        )
        return Reading(
            self.joules_low + other.joules_low,
            self.joules + other.joules,
            self.joules_high + other.joules_high,
            "; then ".join(methods),
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_rss_bytes, other.peak_rss_bytes),
        )

    def beside(self, other: Reading) -> Reading:
        """Add what another process used in the same time: sum energy, processor time and memory."""
        return Reading(
            self.joules_low + other.joules_low,
            self.joules + other.joules,
            self.joules_high + other.joules_high,
            self.method if other.method in self.method else f"{self.method}, and {other.method}",
            max(self.seconds, other.seconds),
            self.cpu_seconds + other.cpu_seconds,
            self.peak_rss_bytes + other.peak_rss_bytes,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reading:
        """Rebuild a reading from `to_dict`."""
        return cls(**data)


class EnergyMeter:
    """Measure everything between entry and exit of a `with` block, child processes included.

    `reading` can be read at any time. `on_sample` receives it at the start and every `sample_seconds`, from another
    thread, so that a killed process leaves a record of what it used.
    """

    def __init__(
        self,
        on_sample: Callable[[Reading], None] | None = None,
        sample_seconds: float = 5.0,
        *,
        tree_seconds: float = 0.2,
        powercap: Path = Path("/sys/class/powercap"),
    ) -> None:
        self._on_sample, self._sample_seconds, self._tree_seconds = on_sample, sample_seconds, tree_seconds
        self._rapl: Counter | None = open_rapl(powercap)
        self._gpu: Counter | None = open_gpu()
        self._tree = _Tree()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="energy-meter", daemon=True)
        self._start = self._end = 0.0

    def __enter__(self) -> EnergyMeter:
        """Start measuring."""
        self._start = time.monotonic()
        self._sample()
        self._report()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Take the last sample; the reading no longer changes."""
        self._stop.set()
        self._thread.join()
        self._sample()
        self._end = time.monotonic()

    @property
    def reading(self) -> Reading:
        """Return what was used so far, or in all once the block has ended."""
        if not self._end:
            self._sample()
        seconds = (self._end or time.monotonic()) - self._start
        with self._lock:
            low, central, high, method = self._joules(seconds)
            return Reading(
                low, central, high, method, seconds, self._tree.cpu_seconds, self._tree.peak_rss_bytes
            )

    @property
    def share(self) -> Reading:
        """Return the reading without what counts once for the whole machine: idle power and hardware counters."""
        reading = self.reading
        joules = (0.0, 0.0, 0.0) if self._rapl else load_model(0.0, reading.cpu_seconds)[:3]
        return replace(reading, joules_low=joules[0], joules=joules[1], joules_high=joules[2])

    def _watch(self) -> None:
        reported = time.monotonic()
        pause = self._tree_seconds
        while not self._stop.wait(pause):
            before = time.monotonic()
            self._sample()
            now = time.monotonic()
            # If reading the process tree is slow, read it less often: the meter takes 2% of the time at most.
            pause = max(self._tree_seconds, 50 * (now - before))
            if now - reported >= self._sample_seconds:
                reported = now
                self._report()

    def _report(self) -> None:
        # The stage itself will report a full disk; keep measuring.
        with contextlib.suppress(OSError):
            if self._on_sample:
                self._on_sample(self.reading)

    def _sample(self) -> None:
        with self._lock:
            self._tree.sample()
            for counter in (self._rapl, self._gpu):
                if counter:
                    counter.sample()

    def _joules(self, seconds: float) -> tuple[float, float, float, str]:
        if self._rapl:
            j = self._rapl.joules
            parts = [
                (
                    j,
                    j,
                    j * UNSEEN_BY_RAPL,
                    f"{self._rapl.name}, up to {UNSEEN_BY_RAPL - 1:.0%} added for what it does not measure",
                )
            ]
        else:
            parts = [load_model(seconds, self._tree.cpu_seconds)]
        if self._gpu:
            j = self._gpu.joules
            parts.append((j, j, j * UNSEEN_BY_NVML, self._gpu.name))
        low, central, high = (sum(part[n] for part in parts) for n in range(3))  # type: ignore[misc]
        return float(low), float(central), float(high), " + ".join(part[3] for part in parts)


def load_model(seconds: float, cpu_seconds: float) -> tuple[float, float, float, str]:
    """Estimate joules (low, central, high) from wall-clock and processor seconds; also name the method."""
    cpu = describe_cpu()
    cores, model = cpu["cores"], cpu["model"]
    joules = [
        seconds * cores * idle + cpu_seconds * busy
        for idle, busy in zip(IDLE_WATTS_PER_CORE, BUSY_WATTS_PER_CORE, strict=True)
    ]
    machine = (
        f"{cores} of an unknown number of cores ({model})" if cpu["virtual"] else f"{cores} cores ({model})"
    )
    busy_range = f"{BUSY_WATTS_PER_CORE[0]:g} to {BUSY_WATTS_PER_CORE[2]:g} W a busy core"
    idle_range = f"{IDLE_WATTS_PER_CORE[0]:g} to {IDLE_WATTS_PER_CORE[2]:g} W a core for the idle machine"
    return joules[0], joules[1], joules[2], f"load model: {machine}, {busy_range} and {idle_range}"


class _Tree:
    """Processor seconds and peak memory of this process and its descendants, including ended ones."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.maxrss_before = _maxrss()
        self.cpu_before = self._cpu_now(self._children())
        self.cpu_seconds = 0.0
        self.peak_rss_bytes = 0

    def sample(self) -> None:
        children = self._children()
        # A child that has ended is missing until it is waited for, so never let the total fall.
        self.cpu_seconds = max(self.cpu_seconds, self._cpu_now(children) - self.cpu_before)
        rss = self.process.memory_info().rss + sum(_rss_of(child) for child in children)
        # The kernel's high-water marks catch spikes between samples; our own counts only if it rose since the start.
        # Read the children's one by one: getrusage would report our former peak as theirs, because a child briefly
        # shares our memory before its program starts.
        own = _maxrss()
        marks = [own if own > self.maxrss_before else 0, *map(_high_water, children)]
        self.peak_rss_bytes = int(max([self.peak_rss_bytes, rss, *marks]))

    def _children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return self.process.children(recursive=True)
        return []

    def _cpu_now(self, children: list[psutil.Process]) -> float:
        # Read our own times first: a child that ends in between is then missing for a moment, but never counted twice.
        own = os.times()
        return own.user + own.system + own.children_user + own.children_system + sum(map(_cpu_of, children))


def _cpu_of(process: psutil.Process) -> float:
    def read() -> float:
        times = process.cpu_times()
        return float(
            times.user
            + times.system
            + getattr(times, "children_user", 0)
            + getattr(times, "children_system", 0)
        )

    return _quietly(read)


def _rss_of(process: psutil.Process) -> float:
    return _quietly(lambda: float(process.memory_info().rss))


def _quietly(read: Callable[[], float]) -> float:
    with contextlib.suppress(psutil.Error):
        return read()
    return 0.0


def _high_water(process: psutil.Process) -> int:
    """Return a process's peak resident memory in bytes; 0 if the kernel does not report it."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _maxrss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
