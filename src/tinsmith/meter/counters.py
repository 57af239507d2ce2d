"""Read the hardware's energy counters, where permitted: RAPL (processor) and NVML (NVIDIA boards)."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

MICRO, MILLI = 1e-6, 1e-3
MOST_WATTS = 2000.0  # more than any package, its memory or a board can draw
_SLACK_SECONDS = 1.0  # a counter is written a little later than what it counts
_RESTARTED = ", which began again or jumped meanwhile"


class Counter(Protocol):
    """A cumulative counter: call `sample` regularly, read the `joules` since it was opened."""

    name: str
    joules: float

    def sample(self) -> None:
        """Add what was used since the last call."""


class WrappingCounters:
    """The sum of raw counters, each of one package or board. A limit of 0 is unknown.

    A counter below its last value has passed its limit, or begun again at zero, as after a suspend or with a
    reloaded driver. It has passed its limit if so much can be drawn in the time; otherwise what it shows was counted
    from zero. More than can be drawn in the time is left out, and the name says so.
    """

    def __init__(
        self, name: str, reads: Sequence[Callable[[], int]], limits: Sequence[int], unit: float
    ) -> None:
        self.name, self.joules = name, 0.0
        self._reads, self._limits, self._unit = reads, limits, unit
        self._last = [(read(), time.monotonic()) for read in reads]

    def sample(self) -> None:
        """Add the differences."""
        for n, read in enumerate(self._reads):
            # A failed read loses nothing: the counter keeps counting, and the next read catches up.
            with contextlib.suppress(OSError, ValueError):
                (last, before), now, at = self._last[n], read(), time.monotonic()
                self._last[n] = now, at
                most = MOST_WATTS * (at - before + _SLACK_SECONDS) / self._unit
                passed = now - last + (self._limits[n] if now < last else 0)
                if 0 <= passed <= most:
                    self.joules += passed * self._unit
                    continue
                self.joules += now * self._unit if now < last and now <= most else 0.0
                if not self.name.endswith(_RESTARTED):
                    self.name += _RESTARTED


def open_rapl(powercap: Path = Path("/sys/class/powercap")) -> Counter | None:
    """Open the package and memory zones of Linux powercap; None if a package may not be read."""
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _counts(zone)]
    packages = [zone for zone in zones if _zone_name(zone).startswith("package")]
    memory = [zone for zone in zones if zone not in packages and _limit(zone) is not None]
    limits = [_limit(zone) for zone in (*packages, *memory)]
    if not packages or None in limits:
        # Most systems let only the administrator read them, since they leak secrets of other processes.
        return None
    with_memory = "with memory" if memory else "without memory"
    count = f"{len(packages)} processor package{'s' * (len(packages) > 1)}"
    reads = [_reader(zone / "energy_uj") for zone in (*packages, *memory)]
    return WrappingCounters(
        f"RAPL: {count} {with_memory}, the whole machine's load",
        reads,
        [limit or 0 for limit in limits],
        MICRO,
    )


def _limit(zone: Path) -> int | None:
    """Return where a zone's counter begins again, None if that or the counter cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        _reader(zone / "energy_uj")()
        return int((zone / "max_energy_range_uj").read_text())
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
