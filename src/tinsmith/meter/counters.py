"""Read the hardware's energy counters, where permitted: RAPL (processor) and NVML (NVIDIA boards)."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

MICRO, MILLI = 1e-6, 1e-3


class Counter(Protocol):
    """A cumulative counter: call `sample` regularly, read the `joules` since it was opened."""

    name: str
    joules: float

    def sample(self) -> None:
        """Add what was used since the last call."""


class WrappingCounters:
    """The sum of raw counters. Each restarts from zero at its limit, or at any time if its limit is 0."""

    def __init__(
        self, name: str, reads: Sequence[Callable[[], int]], limits: Sequence[int], unit: float
    ) -> None:
        self.name, self.joules = name, 0.0
        self._reads, self._limits, self._unit = reads, limits, unit
        self._last = [read() for read in reads]

    def sample(self) -> None:
        """Add the differences; a value below the last one means that the counter restarted."""
        for n, read in enumerate(self._reads):
            # A failed read loses nothing: the counter keeps counting, and the next read catches up.
            with contextlib.suppress(OSError):
                now, last, limit = read(), self._last[n], self._limits[n]
                step = now - last if now >= last else now - last + limit if limit else now
                self.joules += step * self._unit
                self._last[n] = now


def open_rapl(powercap: Path = Path("/sys/class/powercap")) -> Counter | None:
    """Open the package and memory zones of Linux powercap; None if they may not be read."""
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _counts(zone)]
    try:
        limits = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]
        reads = [_reader(zone / "energy_uj") for zone in zones]
        packages = sum(_zone_name(zone).startswith("package") for zone in zones)
        if not packages:
            return None
        memory = "with memory" if len(zones) > packages else "without memory"
        name = f"RAPL: {packages} processor package{'s' * (packages > 1)} {memory}, the whole machine's load"
        return WrappingCounters(name, reads, limits, MICRO)
    except OSError:
        # Most systems let only the administrator read them, since they leak secrets of other processes.
        return None


def _counts(zone: Path) -> bool:
    # `core` and `uncore` are part of their package, and `psys` overlaps with it.
    return _zone_name(zone).startswith(("package", "dram"))


def _zone_name(zone: Path) -> str:
    with contextlib.suppress(OSError):
        return (zone / "name").read_text().strip()
    return ""


def _reader(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text())


def load_nvml() -> Any | None:
    """Load and start the library of NVIDIA's driver; None without a driver."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        return library if library.nvmlInit_v2() == 0 else None
    except OSError:
        return None


def open_gpu(library: Any | None = None) -> Counter | None:
    """Open the energy counters of all NVIDIA boards (Volta and later); None without one."""
    library = library or load_nvml()
    if library is None:
        return None
    reads = [_nvml_reader(library, handle) for handle in nvml_handles(library)]
    try:
        name = f"NVML: {len(reads)} board{'s' * (len(reads) > 1)}, their whole load"
        return WrappingCounters(name, reads, [0] * len(reads), MILLI) if reads else None
    except OSError:
        return None


def nvml_handles(library: Any) -> list[ctypes.c_void_p]:
    """Return a handle for each board."""
    count = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    handles = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
            handles.append(handle)
    return handles


def _nvml_reader(library: Any, handle: ctypes.c_void_p) -> Callable[[], int]:
    def read() -> int:
        millijoules = ctypes.c_ulonglong()
        if code := library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)):
            raise OSError(f"NVML returned {code}")
        return millijoules.value

    return read
