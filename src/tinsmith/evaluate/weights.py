"""Sizes of a model's weights, read from the headers of its files."""

from __future__ import annotations

import collections
import math
import re
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_tensor_types


class Weights(NamedTuple):
    """How many weights a model has, the bytes and bits that they take, and the types of its tensors by share."""

    parameters: int
    bytes: int
    bits_per_weight: float
    quantisation: str


def read_weights(path: Path) -> Weights:
    """Read the sizes of a GGUF file, or of the safetensors in a directory. Raises AssetError."""
    tensors = read_tensor_types(path) if path.is_file() else _safetensors(path)
    kinds: collections.Counter[str] = collections.Counter()
    for kind, weights, _ in tensors:
        kinds[kind] += weights
    total, size = kinds.total(), sum(stored for _, _, stored in tensors)
    shares = [(kind, count / total) for kind, count in kinds.most_common()]
    quantisation = ", ".join(f"{kind} {share:.0%}" for kind, share in shares if share >= 0.005)
    return Weights(total, size, round(8 * size / total, 2), quantisation)


def _safetensors(path: Path) -> list[tuple[str, int, int]]:
    """Return (type, weights, bytes) of each tensor."""
    found = []
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            for key in tensors.keys():  # noqa: SIM118  (safe_open has no iterator)
                kept = tensors.get_slice(key)
                count = math.prod(kept.get_shape())
                found.append((kept.get_dtype(), count, count * _width(kept.get_dtype())))
    if not found:
        raise AssetError(
            "holds no *.safetensors", where=str(path), next_step="name a complete model directory"
        )
    return found


def _width(dtype: str) -> int:
    digits = re.search(r"\d+", dtype)
    return max(1, int(digits[0]) // 8) if digits else 1
