"""What training moved off the levels of a quantised base is kept; weights on them or of no file keep their type."""

from __future__ import annotations

import libgguf
import numpy as np
import pytest

from gguf import GGMLQuantizationType as Type
from gguf import dequantize
from tinsmith.gguf.base_levels import keeps_training


def rounded(array: np.ndarray, type: Type) -> np.ndarray:
    return np.asarray(dequantize(libgguf.quantize_rows(array, type), type), dtype=np.float32)


def random(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, (96, 512)).astype(np.float32)


def kept(base: np.ndarray, trained: np.ndarray, type: Type) -> float:
    """Return the share of a change that a file of a type shows."""
    change = trained - base
    return float(((rounded(trained, type) - base) * change).sum() / np.square(change).sum())


@pytest.mark.parametrize("type", [Type.Q5_0, Type.Q4_K, Type.Q5_K, Type.Q6_K])
def test_a_short_training_is_not_rounded_away(type: Type) -> None:
    base = rounded(random(), type)
    step = float(np.abs(rounded(random(), type) - random()).mean())
    trained = (base + np.random.default_rng(2).normal(0, 0.5 * step, base.shape)).astype(np.float32)
    chosen = keeps_training(trained, type)
    assert chosen is not type
    assert kept(base, trained, type) < 0.6
    assert kept(base, trained, chosen) > 0.75


@pytest.mark.parametrize("type", [Type.Q5_0, Type.Q4_K, Type.Q8_0, Type.F16])
def test_weights_of_no_file_keep_their_type(type: Type) -> None:
    assert keeps_training(random(), type) is type


def test_the_weights_of_the_base_itself_keep_their_type() -> None:
    assert keeps_training(rounded(random(), Type.Q5_0), Type.Q5_0) is Type.Q5_0


def test_vectors_and_rows_that_no_other_type_holds_keep_theirs() -> None:
    assert keeps_training(np.ones(64, np.float32), Type.Q5_0) is Type.Q5_0
    moved = rounded(random()[:, :32].copy(), Type.IQ4_NL) + np.float32(1e-5)
    assert keeps_training(moved, Type.Q4_K) is Type.Q4_K
