"""Main memory: keep freed pages between steps, measure what is available, recognise failed allocations."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from tinsmith.base.cgroups import ROOT
from tinsmith.base.memory import free_bytes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # M_TRIM_THRESHOLD and so on, of glibc's malloc.h


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Make glibc keep freed pages for the next step, and return them at the end; yield whether that is possible.

    Otherwise gradients and logits return to the kernel after each step and come back as zeroed pages. On SmolLM2-135M
    with 512 tokens a step, keeping them saves 8% of the processor time (7.1 against 7.7 s) for 6% more memory. Later
    stages must not inherit the setting: an export then took 11 GB where 4 suffice.
    """
    if platform.libc_ver()[0] != "glibc":
        yield False
        return
    libc = ctypes.CDLL(None)
    try:
        yield bool(libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1) and libc.mallopt(_MMAP_MAX, 0))
    finally:
        # Once set, the thresholds no longer adapt to the program, so set them to where they would end.
        libc.mallopt(_MMAP_MAX, 65_536)
        libc.mallopt(_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(_TRIM_THRESHOLD, 64 * 2**20)
        gc.collect()
        libc.malloc_trim(0)


def available_bytes(cgroup: Path = ROOT) -> int:
    """Return the bytes of main memory that this process can still use, its own freed pages included."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    return free_bytes(cgroup)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that an allocation failed, on a GPU or in main memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    signs = ("can't allocate memory", "not enough memory")  # from torch's CPU allocator
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
