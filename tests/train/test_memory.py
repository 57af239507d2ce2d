from __future__ import annotations

import platform
import resource

import pytest
import torch

from tinsmith.train.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the policy is glibc's")
def test_memory_taken_again_costs_no_page_faults() -> None:
    assert keep_freed_memory()
    faults = []
    for _ in range(30):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(20_000_000)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    # 80 MB are 19,531 pages. The heap needs some rounds to find its shape.
    assert sum(count > 1000 for count in faults) < 15
    assert faults[-1] < 1000
