from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# A process of its own: what the heap of a long one looks like decides where it takes memory from.
MEASURE = """
import resource, torch
from tinsmith.train.memory import keep_freed_memory
assert keep_freed_memory()
faults = []
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
