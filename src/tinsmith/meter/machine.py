"""Describe this machine, for manifests, the planner and `tinsmith doctor`."""

from __future__ import annotations

import ctypes
import functools
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from tinsmith.base.cores import usable_cores
from tinsmith.base.memory import free_bytes, total_bytes
from tinsmith.meter.counters import load_nvml, nvml_handles

# The kernel's names, most important for training first.
FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "asimd",
    "bf16",
    "sve",
)


def describe_machine(directory: Path = Path(".")) -> dict[str, Any]:
    """Describe processor, memory, GPUs and the free disk of `directory` as JSON values, without importing torch."""
    cpu = describe_cpu()
    return {
        "cpu": cpu["model"],
        "cores": cpu["cores"],
        "virtual": cpu["virtual"],
        "flags": list(cpu["flags"]),
        "bf16": any("bf16" in flag for flag in cpu["flags"]),
        "memory_bytes": total_bytes(),
        "memory_available_bytes": free_bytes(),
        "disk_free_bytes": shutil.disk_usage(directory).free,
        "gpus": describe_gpus(),
        "threads": _torch_threads(cpu["cores"]),
        "compiler": shutil.which("c++") is not None or shutil.which("g++") is not None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


@functools.cache
def describe_cpu() -> dict[str, Any]:
    """Return `model`, usable `cores`, `flags`, and whether it is `virtual` (under a hypervisor)."""
    info = _cpuinfo(Path("/proc/cpuinfo"))
    flags = set(info.get("flags", info.get("Features", "")).split())
    model = info.get("model name") or platform.processor() or platform.machine()
    return {
        "model": model,
        "cores": usable_cores(),
        "flags": tuple(flag for flag in FLAGS if flag in flags),
        "virtual": "hypervisor" in flags,
    }


def describe_gpus(library: Any | None = None) -> list[dict[str, Any]]:
    """Return name and memory of each NVIDIA board; empty without a driver."""
    library = library or load_nvml()
    return [_describe_gpu(library, handle) for handle in nvml_handles(library)] if library else []


class _NvmlMemory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _describe_gpu(library: Any, handle: ctypes.c_void_p) -> dict[str, Any]:
    name, memory = ctypes.create_string_buffer(96), _NvmlMemory()
    library.nvmlDeviceGetName(handle, name, len(name))
    library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return {"name": name.value.decode("utf-8", "replace"), "memory_bytes": memory.total}


def _cpuinfo(path: Path) -> dict[str, str]:
    """Return the fields of the first processor; empty if the file is missing (not Linux)."""
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _torch_threads(cores: int) -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else cores
