"""Count the processor cores that this process may use."""

import os


def usable_cores() -> int:
    """Return on how many cores this process may run, at least 1."""
    # Only Linux can restrict a process to fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
