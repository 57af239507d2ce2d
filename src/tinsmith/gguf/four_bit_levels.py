"""Matrices that still hold what a 4-bit base held: each block of 32 values lies on at most 16 equal steps.

To quantise them again by another rule would round them a second time. As Q4_1 they are written as they were.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 32
_AT_ONCE = 2**16  # blocks
_MOST_OFF = 0.1  # of a step, whatever the rounding of weights. By chance, no block of 10^20 is so near
# By how much of its size a format rounds a value at most. In 32 bits the arithmetic of reading a file is allowed for.
_BFLOAT16, _FLOAT16, _FLOAT32 = 2.0**-8, 2.0**-11, 2.0**-20


def as_q4_1(array: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Return a matrix (rows, columns) as bytes (rows, columns / 32 * 20) of Q4_1, or None where that would round it.

    Each block is a step and a lowest value in 16 bits, and 32 numbers of steps in 4 bits each. Values may lie off a
    step by what saving them in their own precision rounds: a short training moves them by little more, and is kept.
    """
    if array.ndim != 2 or array.shape[1] % _BLOCK:
        return None
    rounding, blocks, packed = _rounding_of(array), array.reshape(-1, _BLOCK), []
    for start in range(0, len(blocks), _AT_ONCE):
        part = _pack(blocks[start : start + _AT_ONCE], rounding)
        if part is None:
            return None
        packed.append(part)
    return np.concatenate(packed).reshape(len(array), -1)


def _rounding_of(array: NDArray[np.float32]) -> float:
    """Return by how much of its size a value was rounded: by the shortest format that holds all values exactly."""
    if not (np.ascontiguousarray(array).view(np.uint32) & 0xFFFF).any():
        return _BFLOAT16
    with np.errstate(over="ignore"):
        halves = array.astype(np.float16).astype(np.float32)
    return _FLOAT16 if np.array_equal(halves, array) else _FLOAT32


def _pack(blocks: NDArray[np.float32], rounding: float) -> NDArray[np.uint8] | None:
    """Return blocks (N, 32) as bytes (N, 20); None if one of them has no equal steps that 16 bits hold."""
    lowest, steps, numbers = _levels(blocks)
    with np.errstate(over="ignore", invalid="ignore"):
        halves = steps.astype(np.float16), lowest.astype(np.float16)
        step, low = (half.astype(np.float32)[:, None] for half in halves)
        off = np.abs(step * numbers + low - blocks)
        largest = np.abs(blocks).max(axis=1, initial=0, keepdims=True)
        held = (2 * rounding + 2 * _FLOAT16) * largest  # a step and a lowest value in 16 bits are rounded too
        # Written so that NaN fails; a block of one value has no step.
        if not (
            off <= np.where(steps[:, None] > 0, np.minimum(held, 2 * _MOST_OFF * steps[:, None]), held)
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
    nearest_yet = np.full_like(span, np.inf)
    some = np.flatnonzero(span > 0)
    for count in range(1, 16):
        step = span[some] / count
        exact = (blocks[some] - lowest[some, None]) / step[:, None]
        nearest = np.rint(exact)
        off = np.abs(exact - nearest).max(axis=1, initial=0)
        fits = (off <= _MOST_OFF) & (off * step < nearest_yet[some])
        steps[some[fits]], numbers[some[fits]] = step[fits], nearest[fits]
        nearest_yet[some[fits]] = (off * step)[fits]
    return lowest, steps, numbers
