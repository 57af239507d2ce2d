"""Count the processor cores that this process may use."""

import os

from tinsmith.base.cgroups import cpu_quota


def usable_cores() -> int:
    """Return how many threads this process may run at once: its cores, or what a container's quota allows, at least 1.

    A quota of a part of a core is rounded down, since threads that wait for each other all stop once it is used up.
    """
    return max(1, min(bound_cores(), int(min(cpu_quota(), 2**16))))


def bound_cores() -> int:
    """Return on how many cores this process may run, whatever its quota of their time."""
    # Only Linux can restrict a process to fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
