"""What Tinsmith knows of one architecture of llama.cpp, and helpers that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PretrainedConfig

from gguf import MODEL_ARCH, MODEL_ARCH_NAMES

Metadata = dict[str, int | float | str | list[int]]
Unsupported = dict[str, bool]  # each reason, and whether it applies
Array = NDArray[np.float32]

# llama.cpp takes any gemma of so many layers for the one of 27 billion, which scales its queries differently.
_LAYERS_OF_27B = {"gemma2": 46, "gemma3": 62}

TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")


@dataclass(frozen=True)
class GgufFamily:
    """One architecture of llama.cpp: its metadata, what it cannot compute, and how it orders rows.

    `extra` are tensors of the file that no checkpoint holds. With `transposed`, the checkpoint stores the matrices of
    its layers as (inputs, outputs). `defaults` are the settings that llama.cpp takes where a file does not name them.
    """

    arch: MODEL_ARCH
    metadata: Callable[[PretrainedConfig], Metadata]
    unsupported: Callable[[PretrainedConfig], Unsupported]
    reorder: Callable[[str, Array, PretrainedConfig], Array] = lambda name, array, config: array
    extra: Callable[[PretrainedConfig], dict[str, Array]] = lambda config: {}
    transposed: bool = False
    defaults: Metadata = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the architecture's name in the file."""
        return MODEL_ARCH_NAMES[self.arch]

    def shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a tensor's shape in the file, from its shape in the checkpoint."""
        shape = tuple(size for place, size in enumerate(shape) if size > 1 or place != 1 or len(shape) < 3)
        return shape[::-1] if self._is_transposed(name, len(shape)) else shape

    def arrange(self, name: str, array: Array, config: PretrainedConfig) -> Array:
        """Return a tensor as the file stores it, from the checkpoint's."""
        if array.ndim == 3:  # a convolution over time with one input each: (channels, 1, taps)
            array = array[:, 0]
        return self.reorder(name, array.T if self._is_transposed(name, array.ndim) else array, config)

    def _is_transposed(self, name: str, dimensions: int) -> bool:
        return self.transposed and dimensions == 2 and name.startswith("blk.")


def context_length(config: PretrainedConfig) -> int:
    """Return the model's longest context in tokens; for bloom, which has no bound, its training length.

    Beyond its original context, a model with two sets of rotary factors (longrope) takes the other one. transformers
    chooses by the length of a text, llama.cpp by the room for one. Within the original context they agree.
    """
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "seq_length", None) or 2048
    original = rotary(config).get("original_max_position_embeddings")
    return int(min(length, original) if rotary(config)["rope_type"] == "longrope" and original else length)


def rotary(config: PretrainedConfig) -> dict[str, Any]:
    """Return the settings of rotary positions: `rope_theta`, `rope_type` and those of a scaling."""
    settings = getattr(config, "rope_parameters", None) or {}
    return {"rope_theta": getattr(config, "rope_theta", 10000.0), "rope_type": "default", **settings}


def head_size(config: PretrainedConfig) -> int:
    """Return the channels of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def query_scalar(architecture: str, layers: int, hidden: int, heads: int, size: int) -> int:
    """Return the number by whose root llama.cpp divides a gemma's scores: the head's `size`, except at 27 billion."""
    return hidden // heads if layers == _LAYERS_OF_27B[architecture] else size


def interleave_halves(array: Array, heads: int) -> Array:
    """Reorder the rows (heads * size, ...) of each head from [first half, second half] to pairs of both."""
    size = array.shape[0] // heads
    halves = array.reshape(heads, 2, size // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(array.shape))
