"""Find matrices that training moved a little off the levels of a quantised base, and keep what moved.

A base that comes from a file of few bits has its weights on that type's levels. Training moves them by less than half a
step, and writing them in the same type rounds them back: the file answers as the base did. Measured on Gemma-3-270M
(Q4_K_M) after two minutes: 5 to 24% of what was taught was left in Q5_0 and Q4_K, and 86 to 104% in Q5_1 and Q5_K.
"""

from __future__ import annotations

import libgguf
import numpy as np

from gguf import GGMLQuantizationType as Type
from gguf import dequantize

# The next type whose levels lie elsewhere.
_ELSEWHERE = {Type.Q5_0: Type.Q5_1, Type.Q4_K: Type.Q5_K, Type.Q5_1: Type.Q8_0, Type.Q5_K: Type.Q6_K}
_ELSEWHERE |= {Type.Q6_K: Type.Q8_0, Type.IQ4_NL: Type.Q5_1, Type.Q3_K: Type.Q4_K}
_ROWS = 64
_BLURRED = 0.1  # of the standard deviation: moves a weight by about a step
_NEAR = (
    0.85  # share of the error of blurred weights; above it, weights lie between levels as often as on them
)


def keeps_training(array: np.ndarray, type: Type) -> Type:
    """Return a type for a matrix (float32): the given one, or another if its weights lie near that one's levels."""
    other = _ELSEWHERE.get(type)
    if other is None or array.ndim != 2 or array.shape[1] % _block(other):
        return type
    rows = np.ascontiguousarray(array[:: max(1, array.shape[0] // _ROWS)], dtype=np.float32)
    blur = np.random.default_rng(0).normal(0, _BLURRED * float(rows.std()), rows.shape).astype(np.float32)
    error, blurred = _error(rows, type), _error(rows + blur, type)
    # Weights exactly on the levels are those of the base, and stay.
    exact = np.abs(_rounded(rows, type) - rows) <= np.abs(rows) * 2.0**-8
    return type if exact.all() or error > _NEAR * blurred else other


def _block(type: Type) -> int:
    return 256 if type.name.endswith("_K") else 32


def _rounded(rows: np.ndarray, type: Type) -> np.ndarray:
    return np.asarray(dequantize(libgguf.quantize_rows(rows, type), type), dtype=np.float32)


def _error(rows: np.ndarray, type: Type) -> float:
    return float(np.square(_rounded(rows, type) - rows).mean()) ** 0.5
