"""Matrices that still hold what a 4-bit base held: each block of 32 values lies on at most 16 equal steps.

To quantise them again by another rule would round them a second time. As Q4_1 they are written as they were.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
_LOOKED_AT = 64  # blocks that are looked at before the others
_OFF = 0.1  # of a step: how far saving in 16 bits may have moved a value. By chance, no block in 10^20 is so near


def as_q4_1(array: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Return a matrix (rows, columns) as bytes (rows, columns / 32 * 20) of Q4_1, or None where that would round it.

    Each block is a step and a lowest value in 16 bits, and 32 numbers of steps in 4 bits each.
    """
    if array.ndim != 2 or array.shape[1] % BLOCK:
        return None
    blocks = array.reshape(-1, BLOCK)
    if _levels(blocks[:_LOOKED_AT]) is None or (found := _levels(blocks)) is None:
        return None
    steps, lowest, numbers = found
    packed = numbers[:, : BLOCK // 2] | numbers[:, BLOCK // 2 :] << 4
    parts = [steps.view(np.uint8).reshape(-1, 2), lowest.view(np.uint8).reshape(-1, 2), packed]
    return np.concatenate(parts, axis=1).reshape(len(array), -1)


def _levels(
    blocks: NDArray[np.float32],
) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.uint8]] | None:
    """Return step and lowest value (N,) and the numbers of steps (N, 32) of blocks (N, 32); None if some have none."""
    lowest = blocks.min(axis=1)
    span = blocks.max(axis=1) - lowest
    steps, numbers = np.zeros_like(span), np.zeros(blocks.shape, np.uint8)
    open_ = np.flatnonzero(span > 0)
    for count in range(1, 16):
        if not len(open_):
            break
        step = span[open_] / count
        exact = (blocks[open_] - lowest[open_, None]) / step[:, None]
        nearest = np.rint(exact)
        fits = np.abs(exact - nearest).max(axis=1) <= _OFF
        steps[open_[fits]], numbers[open_[fits]] = step[fits], nearest[fits]
        open_ = open_[~fits]
    if len(open_):
        return None
    return steps.astype(np.float16), lowest.astype(np.float16), numbers
