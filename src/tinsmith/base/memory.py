"""Measure main memory, as far as containers let this process use it."""

from pathlib import Path

import psutil

from tinsmith.base.cgroups import ROOT, memory_limits


def total_bytes(cgroup: Path = ROOT) -> int:
    """Return the bytes of main memory that this process could use if nothing else ran."""
    return min([psutil.virtual_memory().total, *(memory.limit for memory in memory_limits(cgroup))])


def free_bytes(cgroup: Path = ROOT) -> int:
    """Return the bytes of main memory that this process can still use."""
    left = [psutil.virtual_memory().available, *(memory.left for memory in memory_limits(cgroup))]
    return max(0, min(left))
