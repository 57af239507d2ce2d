"""Describe each model family as llama.cpp knows it: its metadata, its order of rows, and what it cannot compute.

llama.cpp computes each architecture in one way, with few settings. A configuration that needs more is refused:
llama.cpp would read the file without an error and compute something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PretrainedConfig

from gguf import MODEL_ARCH, MODEL_ARCH_NAMES
from tinsmith.base.errors import AssetError

Metadata = dict[str, int | float]
Unsupported = dict[str, bool]  # each reason, and whether it applies
Array = NDArray[np.float32]

_TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
_SLIDING_PERIOD = 6  # every sixth layer of a gemma3 attends to the whole context
_LOCAL_ROPE_BASE = 10000.0


@dataclass(frozen=True)
class GgufFamily:
    """One architecture of llama.cpp: its metadata, what it cannot compute, and how it orders rows."""

    arch: MODEL_ARCH
    metadata: Callable[[PretrainedConfig], Metadata]
    unsupported: Callable[[PretrainedConfig], Unsupported]
    reorder: Callable[[str, Array, PretrainedConfig], Array] = lambda name, array, config: array
    transposed: bool = False  # the checkpoint stores the matrices of its layers as (inputs, outputs)

    @property
    def name(self) -> str:
        """Return the architecture's name in the file."""
        return MODEL_ARCH_NAMES[self.arch]

    def shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a tensor's shape in the file, from its shape in the checkpoint."""
        return shape[::-1] if self._is_transposed(name, len(shape)) else shape

    def arrange(self, name: str, array: Array, config: PretrainedConfig) -> Array:
        """Return a tensor as the file stores it, from the checkpoint's."""
        return self.reorder(name, array.T if self._is_transposed(name, array.ndim) else array, config)

    def _is_transposed(self, name: str, dimensions: int) -> bool:
        return self.transposed and dimensions == 2 and name.startswith("blk.")


def refuse_unwritable(config: PretrainedConfig, where: Path) -> GgufFamily:
    """Return how to write a model's family. Raises AssetError for what llama.cpp cannot compute."""
    family = _FAMILIES.get(config.model_type)
    if family is None:
        known = ", ".join(_FAMILIES)
        reasons = [f"its architecture is {config.model_type}; a GGUF file can be written for {known}"]
    else:
        reasons = [reason for reason, applies in family.unsupported(config).items() if applies]
    if family is None or reasons:
        raise AssetError(
            "; ".join(reasons),
            where=str(where),
            next_step="choose a base of one of these families, without the setting named here",
        )
    return family


def architecture_metadata(config: PretrainedConfig) -> Metadata:
    """Return the architecture's metadata by key in the file: integers as int, real numbers as float."""
    family = _FAMILIES[config.model_type]
    values = {
        "vocab_size": config.vocab_size,
        "context_length": context_length(config),
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "attention.head_count": config.num_attention_heads,
        **family.metadata(config),
    }
    return {f"{family.name}.{key}": value for key, value in values.items()}


def context_length(config: PretrainedConfig) -> int:
    """Return the model's longest context in tokens; for bloom, which has no bound, its training length."""
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "seq_length", None)
    return int(length or 2048)


def interleave_halves(array: Array, heads: int) -> Array:
    """Reorder the rows (heads * size, ...) of each head from [first half, second half] to pairs of both."""
    size = array.shape[0] // heads
    halves = array.reshape(heads, 2, size // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(array.shape))


def _rotary(config: PretrainedConfig) -> dict[str, Any]:
    settings = getattr(config, "rope_parameters", None) or {}
    return {"rope_theta": getattr(config, "rope_theta", 10000.0), "rope_type": "default", **settings}


def _head_size(config: PretrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _gated_metadata(config: PretrainedConfig) -> Metadata:
    metadata: Metadata = {
        "feed_forward_length": config.intermediate_size,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": _head_size(config),
    }
    if _head_size(config) * config.num_attention_heads != config.hidden_size:
        metadata |= _head_sizes(config)
    return metadata


def _head_sizes(config: PretrainedConfig) -> Metadata:
    return {"attention.key_length": _head_size(config), "attention.value_length": _head_size(config)}


# --- llama ---


def _llama_metadata(config: PretrainedConfig) -> Metadata:
    return {**_gated_metadata(config), "rope.freq_base": float(_rotary(config)["rope_theta"])}


def _llama_unsupported(config: PretrainedConfig) -> Unsupported:
    scaling = _rotary(config)["rope_type"]
    return {
        f"its activation is {config.hidden_act}, llama.cpp computes silu": config.hidden_act != "silu",
        f"its rotary positions are scaled ({scaling})": scaling != "default",
    }


def _llama_reorder(name: str, array: Array, config: PretrainedConfig) -> Array:
    # llama.cpp rotates neighbouring rows of a head; transformers rotates rows half a head apart.
    if ".attn_q." in name:
        return interleave_halves(array, config.num_attention_heads)
    if ".attn_k." in name:
        return interleave_halves(array, config.num_key_value_heads)
    return array


# --- qwen3 ---


def _qwen3_metadata(config: PretrainedConfig) -> Metadata:
    return {**_llama_metadata(config), **_head_sizes(config)}


def _qwen3_unsupported(config: PretrainedConfig) -> Unsupported:
    return {
        **_llama_unsupported(config),
        "its attention has biases, which llama.cpp's qwen3 does not have": config.attention_bias,
        "some of its layers attend to a sliding window only": set(config.layer_types) != {"full_attention"},
    }


# --- gemma3 ---


def _gemma3_metadata(config: PretrainedConfig) -> Metadata:
    return {
        **_gated_metadata(config),
        **_head_sizes(config),
        "attention.sliding_window": config.sliding_window,
        "rope.freq_base": float(config.rope_parameters["full_attention"]["rope_theta"]),
    }


def _gemma3_unsupported(config: PretrainedConfig) -> Unsupported:
    layers, rope = config.num_hidden_layers, config.rope_parameters
    layer_types = [
        "sliding_attention" if (layer + 1) % _SLIDING_PERIOD else "full_attention" for layer in range(layers)
    ]
    odd_layers = config.layer_types != layer_types
    # llama.cpp takes any gemma3 of 62 layers for the 27-billion one, which scales its queries differently.
    scaled = config.hidden_size // config.num_attention_heads if layers == 62 else _head_size(config)
    activation, scalar = config.hidden_activation, config.query_pre_attn_scalar
    return {
        f"its activation is {activation}, llama.cpp computes the tanh form of gelu": activation
        not in _TANH_GELU,
        f"its query_pre_attn_scalar is {scalar}, llama.cpp scales by {scaled}": scalar != scaled,
        "its rotary positions are scaled": any(
            settings["rope_type"] != "default" for settings in rope.values()
        ),
        f"its local rotary base is not {_LOCAL_ROPE_BASE:g}": "sliding_attention" in layer_types
        and rope["sliding_attention"]["rope_theta"] != _LOCAL_ROPE_BASE,
        f"not every {_SLIDING_PERIOD}th layer, or not only those, attends to the whole context": odd_layers,
        "its attention has biases": config.attention_bias,
        "its attention is bidirectional": bool(config.use_bidirectional_attention),
        "its logits are capped": bool(config.final_logit_softcapping or config.attn_logit_softcapping),
    }


def _gemma3_reorder(name: str, array: Array, config: PretrainedConfig) -> Array:
    # transformers multiplies by 1 + weight, llama.cpp by the weight.
    return array + 1 if name.endswith("norm.weight") else array


# --- phi, gpt2, bloom: layer norms and biases ---


def _phi_metadata(config: PretrainedConfig) -> Metadata:
    rope = _rotary(config)
    return {
        "feed_forward_length": config.intermediate_size,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_epsilon": config.layer_norm_eps,
        "rope.dimension_count": int(_head_size(config) * rope["partial_rotary_factor"]),
        "rope.freq_base": float(rope["rope_theta"]),
    }


def _phi_unsupported(config: PretrainedConfig) -> Unsupported:
    scaling, activation = _rotary(config)["rope_type"], config.hidden_act
    odd_heads = _head_size(config) * config.num_attention_heads != config.hidden_size
    return {
        f"its activation is {activation}, llama.cpp computes the tanh form of gelu": activation
        not in _TANH_GELU,
        f"its rotary positions are scaled ({scaling})": scaling != "default",
        "its queries and keys are normalised": config.qk_layernorm,
        "its embeddings are tied, whereas llama.cpp's phi has a separate output matrix": config.tie_word_embeddings,
        "its head size is not the hidden size divided by the number of heads": odd_heads,
    }


def _gpt2_metadata(config: PretrainedConfig) -> Metadata:
    return {
        "feed_forward_length": config.n_inner or 4 * config.hidden_size,
        "attention.layer_norm_epsilon": config.layer_norm_epsilon,
    }


def _gpt2_unsupported(config: PretrainedConfig) -> Unsupported:
    activation = config.activation_function
    plain = config.scale_attn_weights and not config.scale_attn_by_inverse_layer_idx
    return {
        f"its activation is {activation}, llama.cpp computes the tanh form of gelu": activation
        not in _TANH_GELU,
        "its attention is not scaled by the head size": not plain,
        "it has cross-attention to an encoder": config.add_cross_attention,
    }


def _bloom_metadata(config: PretrainedConfig) -> Metadata:
    return {
        "feed_forward_length": 4 * config.hidden_size,
        "attention.head_count_kv": config.num_attention_heads,
        "attention.layer_norm_epsilon": config.layer_norm_epsilon,
    }


def _bloom_unsupported(config: PretrainedConfig) -> Unsupported:
    after = config.apply_residual_connection_post_layernorm
    return {"its residual is taken after the norm, whereas llama.cpp takes it before": after}


def _bloom_reorder(name: str, array: Array, config: PretrainedConfig) -> Array:
    if ".attn_qkv." not in name:
        return array
    # transformers stores query, key and value head by head; llama.cpp all queries, all keys, all values.
    heads = array.reshape(config.num_attention_heads, 3, -1, *array.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(0, 1).reshape(array.shape))


_FAMILIES = {
    "llama": GgufFamily(MODEL_ARCH.LLAMA, _llama_metadata, _llama_unsupported, _llama_reorder),
    "qwen3": GgufFamily(MODEL_ARCH.QWEN3, _qwen3_metadata, _qwen3_unsupported),
    "phi": GgufFamily(MODEL_ARCH.PHI2, _phi_metadata, _phi_unsupported),
    "gpt2": GgufFamily(MODEL_ARCH.GPT2, _gpt2_metadata, _gpt2_unsupported, transposed=True),
    "bloom": GgufFamily(MODEL_ARCH.BLOOM, _bloom_metadata, _bloom_unsupported, _bloom_reorder),
    "gemma3_text": GgufFamily(MODEL_ARCH.GEMMA3, _gemma3_metadata, _gemma3_unsupported, _gemma3_reorder),
}
