from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# A process of its own: what the heap of a long one looks like decides where it takes memory from.
MEASURE = """
import resource, torch
from tinsmith.train.memory import freed_memory_kept
faults = []
with freed_memory_kept() as kept:
    assert kept
    for _ in range(30):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(20_000_000)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(count > 1000 for count in faults))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the policy is glibc's")
def test_memory_taken_again_costs_no_page_faults() -> None:
    result = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    # 80 MB are 19,531 pages. The heap needs some rounds to find its shape.
    assert int(result.stdout) < 15


AFTER = """
import torch
from pathlib import Path
from tinsmith.train.memory import freed_memory_kept

def resident():
    found = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return next(int(words[1]) * 1024 for words in found if words[0] == "VmRSS:")

before = resident()
with freed_memory_kept():
    blocks = [torch.ones(2_000_000) for _ in range(50)]
    kept = blocks[-1].clone()
    del blocks
    held = resident()
after = resident()
del kept
block = torch.ones(120_000_000)  # more than the hole that training left in the heap
last = block.clone()
del block
print(held - before, after - before, resident() - before - last.nbytes)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the policy is glibc's")
def test_what_training_freed_goes_back_and_later_stages_give_back_theirs() -> None:
    result = subprocess.run([sys.executable, "-c", AFTER], capture_output=True, text=True, check=True)
    held, after, later = map(int, result.stdout.split())
    assert held > 390_000_000  # so that there was something to give back
    assert after < 100_000_000
    assert later < 200_000_000
