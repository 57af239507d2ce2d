"""Check what this machine can do and what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tinsmith.base import assets
from tinsmith.base.memory import total_bytes
from tinsmith.meter.energy import EnergyMeter
from tinsmith.meter.machine import describe_machine


@dataclass(frozen=True)
class Finding:
    """One checked item; `mark` is ok, note or missing."""

    mark: str
    what: str
    result: str


def examine() -> Iterator[Finding]:
    """Check one thing after another and yield each finding."""
    machine = describe_machine()
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "ok" if (3, 11) <= sys.version_info[:2] <= (3, 12) else "missing",
        "Python",
        f"{version} (needs 3.11 or 3.12)",
    )
    yield Finding("ok", "processor", ", ".join(f"{key} {value}" for key, value in machine.items()))
    yield _memory_and_disk()
    yield _compiler()
    yield _torch()
    with EnergyMeter() as meter:
        pass
    modelled = "load model" in meter.reading.method
    yield Finding("note" if modelled else "ok", "energy meter", meter.reading.method)
    yield _namespaces()
    for name in assets.KNOWN:
        cached = assets.is_cached(name)
        yield Finding(
            "ok" if cached else "note",
            name,
            "cached" if cached else "downloaded when a recipe first needs it",
        )


def _memory_and_disk() -> Finding:
    memory = total_bytes() / 1e9
    free = shutil.disk_usage(".").free / 1e9
    enough = memory >= 8 and free >= 6
    return Finding(
        "ok" if enough else "missing",
        "memory and disk",
        f"{memory:.0f} GB, {free:.0f} GB free here (needs 8 and 6)",
    )


def _compiler() -> Finding:
    compiler = next((name for name in ("g++", "c++", "clang++") if shutil.which(name)), None)
    result = compiler or "none: training runs without torch.compile, as short runs do anyway"
    return Finding("ok" if compiler else "note", "C++ compiler", result)


def _torch() -> Finding:
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return Finding("ok", "PyTorch", f"{torch.__version__}, {torch.get_num_threads()} threads, {device}")


def _namespaces() -> Finding:
    command = ["unshare", "--user", "--net", "--map-root-user", "true"]
    able = (
        shutil.which("unshare") and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    result = (
        "builds can run without network access"
        if able
        else "not available: builds cannot be isolated from the network"
    )
    return Finding("ok" if able else "note", "network namespaces", result)
