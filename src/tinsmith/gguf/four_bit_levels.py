"""Matrices that still hold what a 4-bit base held: each block of 32 values lies on at most 16 equal steps.

To quantise them again by another rule would round them a second time. As Q4_1 they are written as they were.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 32
_AT_ONCE = 2**16  # blocks
_OFF = 0.1  # of a step: how far 16-bit weights may be from it. By chance, no block of 10^20 is so near


def as_q4_1(array: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Return a matrix (rows, columns) as bytes (rows, columns / 32 * 20) of Q4_1, or None where that would round it.

    Each block is a step and a lowest value in 16 bits, and 32 numbers of steps in 4 bits each.
    """
    if array.ndim != 2 or array.shape[1] % _BLOCK:
        return None
    blocks, packed = array.reshape(-1, _BLOCK), []
    for start in range(0, len(blocks), _AT_ONCE):
        part = _pack(blocks[start : start + _AT_ONCE])
        if part is None:
            return None
        packed.append(part)
    return np.concatenate(packed).reshape(len(array), -1)


def _pack(blocks: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Return blocks (N, 32) as bytes (N, 20); None if one of them has no equal steps that 16 bits hold."""
    lowest, steps, numbers = _levels(blocks)
    with np.errstate(over="ignore", invalid="ignore"):
        halves = steps.astype(np.float16), lowest.astype(np.float16)
        step, low = (half.astype(np.float32)[:, None] for half in halves)
        if not (
            np.abs(step * numbers + low - blocks) <= 2 * _OFF * steps[:, None] + 1e-3 * np.abs(low)
        ).all():
            return None
    nibbles = numbers[:, : _BLOCK // 2] | numbers[:, _BLOCK // 2 :] << 4
    return np.concatenate([*(half.view(np.uint8).reshape(-1, 2) for half in halves), nibbles], axis=1)


def _levels(
    blocks: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Return lowest values (N,), steps (N,) and numbers of steps (N, 32) of blocks; those without equal steps get 0."""
    lowest = blocks.min(axis=1)
    span = blocks.max(axis=1) - lowest
    steps, numbers = np.zeros_like(span), np.zeros(blocks.shape, np.uint8)
    left = np.flatnonzero(span > 0)
    for count in range(1, 16):
        step = span[left] / count
        exact = (blocks[left] - lowest[left, None]) / step[:, None]
        nearest = np.rint(exact)
        fits = np.abs(exact - nearest).max(axis=1, initial=0) <= _OFF
        steps[left[fits]], numbers[left[fits]] = step[fits], nearest[fits]
        left = left[~fits]
    return lowest, steps, numbers
