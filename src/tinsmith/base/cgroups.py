"""What Linux control groups allow this process: the quotas and limits of containers, of both versions.

A process is in a group, and all groups above it count as well: the smallest holds. A container may be told the path
that its group has outside, while it sees its group at the root; so the root always counts too.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_SECOND_VERSION = ("", "unified")  # where its only tree lies: alone, or beside those of the first version


# By version: the limit, its use, and the part of the use that is cache and would be given up.
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


class Memory(NamedTuple):
    """Bytes: the limit of a group, and what is left of it, the cache of files included."""

    limit: int
    left: int


def cpu_quota(root: Path = ROOT, own: Path = OWN) -> float:
    """Return how many processors' time this process may use at most, infinity without a quota."""
    quotas = [math.inf]
    for group in _groups("cpu", root, own):
        for read in (_quota, _first_quota):
            # Groups of the other version, groups without a limit and files that may not be read say nothing.
            with contextlib.suppress(OSError, ValueError):
                quotas.append(read(group))
    return min(quota for quota in quotas if quota > 0)


def memory_limits(root: Path = ROOT, own: Path = OWN) -> list[Memory]:
    """Return the limits of all groups that this process is in; those without a limit are left out."""
    limits = []
    for group in _groups("memory", root, own):
        for limit, used, cache in _MEMORY:
            with contextlib.suppress(OSError, ValueError):
                most, taken = (int((group / name).read_text()) for name in (limit, used))
                limits.append(Memory(most, most - taken + _cached(group, cache)))
    return limits


def _cached(group: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(rows.get(name, 0))
    return 0


def _quota(group: Path) -> float:
    """Return the quota of a group of the second version. Raises OSError or ValueError without one."""
    quota, period = (group / "cpu.max").read_text().split()
    return int(quota) / int(period) if int(period) else math.inf


def _first_quota(group: Path) -> float:
    """Return the quota of a group of the first version, negative for none. Raises OSError or ValueError."""
    quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    return quota / period if period else math.inf


def _groups(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """Yield the directories of the groups that limit this process, of both versions, from the roots down."""
    paths = {"": "/", controller: "/"}  # "" is the tree of the second version
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "/")
            for name in controllers.split(","):
                if name in paths:
                    paths[name] = path
    trees = [(root / name, paths[""]) for name in _SECOND_VERSION] + [(root / controller, paths[controller])]
    for tree, path in trees:
        group = tree
        yield group
        for name in path.strip("/").split("/"):
            group = group / name
            if name in ("", "..") or not group.is_dir():
                break
            yield group
