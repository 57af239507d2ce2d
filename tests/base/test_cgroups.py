"""Quotas and limits of containers, of both versions of control groups: the smallest of all groups above holds."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinsmith.base import cores, memory
from tinsmith.base.cgroups import cpu_quota, memory_limits


def write(root: Path, **files: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)


def own(tmp_path: Path, text: str) -> Path:
    (tmp_path / "own").write_text(text)
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("200000 100000\n", 2.0),
        ("150000 100000", 1.5),
        ("50000 100000", 0.5),
        ("1000 10000", 0.1),
        ("max 100000\n", math.inf),
        ("max", math.inf),
        ("", math.inf),
        ("100000 0", math.inf),
        ("nonsense", math.inf),
    ],
)
def test_a_quota_of_the_second_version(tmp_path: Path, text: str, quota: float) -> None:
    write(tmp_path, cpu__max=text)
    assert cpu_quota(tmp_path, own(tmp_path, "0::/\n")) == quota
    assert cpu_quota(tmp_path, tmp_path / "missing") == quota


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("200000", "100000", 2.0), ("-1", "100000", math.inf), ("", "100000", math.inf), ("5", "0", math.inf)],
)
def test_a_quota_of_the_first_version(tmp_path: Path, quota: str, period: str, expected: float) -> None:
    write(tmp_path / "cpu", cpu__cfs_quota_us=quota, cpu__cfs_period_us=period)
    assert cpu_quota(tmp_path, own(tmp_path, "3:cpu,cpuacct:/\n0::/\n")) == expected


def test_the_smallest_of_all_groups_above_holds(tmp_path: Path) -> None:
    for names, quotas in (("a", "300000"), ("a/b", "max"), ("a/b/c", "400000")):
        write(tmp_path / names, cpu__max=f"{quotas} 100000")
    write(tmp_path / "a/other", cpu__max="100000 100000")
    assert cpu_quota(tmp_path, own(tmp_path, "0::/a/b/c\n")) == 3
    assert cpu_quota(tmp_path, own(tmp_path, "0::/a/other\n")) == 1
    assert cpu_quota(tmp_path, own(tmp_path, "0::/\n")) == math.inf
    # Both versions at once, the second in a tree of its own.
    write(tmp_path / "cpu" / "x", cpu__cfs_quota_us="250000", cpu__cfs_period_us="100000")
    write(tmp_path / "unified" / "y", cpu__max="200000 100000")
    assert cpu_quota(tmp_path, own(tmp_path, "4:cpu:/x\n0::/\n")) == 2.5
    assert cpu_quota(tmp_path, own(tmp_path, "4:cpu:/x\n0::/y\n")) == 2


def test_a_container_that_sees_its_group_at_the_root_and_is_told_another_path(tmp_path: Path) -> None:
    write(tmp_path, cpu__max="200000 100000", memory__max="900", memory__current="100")
    write(tmp_path / "outside", cpu__max="100000 100000")
    for path in ("/docker/1234", "/../../docker/1234", "/../outside"):
        assert cpu_quota(tmp_path, own(tmp_path, f"0::{path}\n")) == 2
        assert memory_limits(tmp_path, own(tmp_path, f"0::{path}\n")) == [(900, 800)]


def test_memory_counts_the_cache_as_free_and_every_group_above(tmp_path: Path) -> None:
    write(
        tmp_path / "a", memory__max="1000", memory__current="900", memory__stat="anon 1\ninactive_file 300\n"
    )
    write(tmp_path / "a/b", memory__max="max", memory__current="800")
    assert memory_limits(tmp_path, own(tmp_path, "0::/a/b\n")) == [(1000, 400)]
    write(
        tmp_path / "memory" / "v",
        memory__limit_in_bytes="700",
        memory__usage_in_bytes="600",
        memory__stat="broken",
    )
    assert memory_limits(tmp_path, own(tmp_path, "7:memory:/v\n0::/a/b\n")) == [(1000, 400), (700, 100)]
    assert memory_limits(tmp_path, own(tmp_path, "0::/\n")) == []
    write(tmp_path, memory__max="5000", memory__current="4000")
    assert (memory.total_bytes(tmp_path), memory.free_bytes(tmp_path)) == (5000, 1000)
    write(tmp_path, memory__current="6000")
    assert memory.free_bytes(tmp_path) == 0
    write(tmp_path, memory__max="9223372036854771712")
    assert memory.total_bytes(tmp_path) > memory.free_bytes(tmp_path) > 6000


@pytest.mark.parametrize(
    ("quota", "count"), [(0.1, 1), (0.5, 1), (1.0, 1), (1.5, 1), (2.0, 2), (2.9, 2), (64.0, 4), (math.inf, 4)]
)
def test_cores_are_what_the_quota_allows(monkeypatch: pytest.MonkeyPatch, quota: float, count: int) -> None:
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cores, "bound_cores", lambda: 4)
    assert cores.usable_cores() == count


UNDER_A_QUOTA = """
import os
from unittest import mock

quota = lambda path, *args, **options: "100000 100000" if path.name == "cpu.max" else "0::/"
with (
    mock.patch("os.sched_getaffinity", lambda process: range(8), create=True),
    mock.patch("pathlib.Path.read_text", quota),
):
    import tinsmith
print(os.environ.get("OMP_NUM_THREADS"))
"""


@pytest.mark.parametrize(("chosen", "threads"), [("", "1"), ("3", "3")])
def test_openmp_is_told_of_a_quota_unless_somebody_chose(chosen: str, threads: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"OMP_NUM_THREADS": chosen} if chosen else {}
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_QUOTA], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == threads
