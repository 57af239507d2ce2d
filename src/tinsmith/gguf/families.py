"""What a GGUF file says of each family, and in which order its tensors hold their rows.

llama.cpp computes each architecture in one way, with few settings. What a configuration asks for beyond them is
refused, since the file would be read without an error and answer something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PretrainedConfig

from gguf import MODEL_ARCH, MODEL_ARCH_NAMES

Facts = dict[str, int | float]
Array = NDArray[np.float32]

_TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
_SLIDING_PERIOD = 6  # every sixth layer of a gemma3 sees everything
_LOCAL_ROPE_BASE = 10000.0


@dataclass(frozen=True)
class GgufFamily:
    """One architecture of llama.cpp: its metadata, its order of rows, and what it cannot say."""

    arch: MODEL_ARCH
    facts: Callable[[PretrainedConfig], Facts]
    objections: Callable[[PretrainedConfig], dict[str, bool]]
    rows: Callable[[str, Array, PretrainedConfig], Array] = lambda name, array, config: array
    transposed: bool = False  # the matrices of its layers are stored as inputs by outputs

    @property
    def name(self) -> str:
        """Return what the file calls the architecture."""
        return MODEL_ARCH_NAMES[self.arch]

    def shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a tensor's shape as the file has it."""
        return shape[::-1] if self._turned(name, len(shape)) else shape

    def arrange(self, name: str, array: Array, config: PretrainedConfig) -> Array:
        """Return a tensor as the file has it."""
        return self.rows(name, array.T if self._turned(name, array.ndim) else array, config)

    def _turned(self, name: str, dimensions: int) -> bool:
        return self.transposed and dimensions == 2 and name.startswith("blk.")


def family_of(config: PretrainedConfig) -> GgufFamily | None:
    """Return how a model's family is written, or None where it cannot be."""
    return _FAMILIES.get(config.model_type)


def writable_families() -> list[str]:
    """Return the model types that can be written."""
    return list(_FAMILIES)


def architecture_facts(config: PretrainedConfig) -> Facts:
    """Return the architecture's metadata by its keys in the file: whole numbers as int, real ones as float."""
    family = _FAMILIES[config.model_type]
    facts = {
        "vocab_size": config.vocab_size,
        "context_length": context_length(config),
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "attention.head_count": config.num_attention_heads,
        **family.facts(config),
    }
    return {f"{family.name}.{key}": value for key, value in facts.items()}


def context_length(config: PretrainedConfig) -> int:
    """Return how many tokens a model reads; for bloom, which has no bound, what it says that it was trained on."""
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "seq_length", None)
    return int(found or 2048)


def interleave_halves(array: Array, heads: int) -> Array:
    """Reorder the rows (heads * size, ...) of each head from [first half, second half] to pairs of both."""
    size = array.shape[0] // heads
    halves = array.reshape(heads, 2, size // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(array.shape))


def _rotary(config: PretrainedConfig) -> dict[str, Any]:
    found = getattr(config, "rope_parameters", None) or {}
    return {"rope_theta": getattr(config, "rope_theta", 10000.0), "rope_type": "default", **found}


def _head(config: PretrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _gated_facts(config: PretrainedConfig) -> Facts:
    facts: Facts = {
        "feed_forward_length": config.intermediate_size,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": _head(config),
    }
    if _head(config) * config.num_attention_heads != config.hidden_size:
        facts |= _head_facts(config)
    return facts


def _head_facts(config: PretrainedConfig) -> Facts:
    return {"attention.key_length": _head(config), "attention.value_length": _head(config)}


# --- llama ---


def _llama_facts(config: PretrainedConfig) -> Facts:
    return {**_gated_facts(config), "rope.freq_base": float(_rotary(config)["rope_theta"])}


def _llama_objections(config: PretrainedConfig) -> dict[str, bool]:
    scaling = _rotary(config)["rope_type"]
    return {
        f"its activation is {config.hidden_act}, llama.cpp computes silu": config.hidden_act != "silu",
        f"its rotary positions are scaled ({scaling})": scaling != "default",
    }


def _llama_rows(name: str, array: Array, config: PretrainedConfig) -> Array:
    # llama.cpp rotates neighbouring rows of a llama's head, transformers the row and the one half a head away.
    if ".attn_q." in name:
        return interleave_halves(array, config.num_attention_heads)
    if ".attn_k." in name:
        return interleave_halves(array, config.num_key_value_heads)
    return array


# --- qwen3 ---


def _qwen3_facts(config: PretrainedConfig) -> Facts:
    return {**_llama_facts(config), **_head_facts(config)}


def _qwen3_objections(config: PretrainedConfig) -> dict[str, bool]:
    return {
        **_llama_objections(config),
        "its attention has biases, which qwen3 has not in llama.cpp": config.attention_bias,
        "some of its layers see a window only": set(config.layer_types) != {"full_attention"},
    }


# --- gemma3 ---


def _gemma3_facts(config: PretrainedConfig) -> Facts:
    return {
        **_gated_facts(config),
        **_head_facts(config),
        "attention.sliding_window": config.sliding_window,
        "rope.freq_base": float(config.rope_parameters["full_attention"]["rope_theta"]),
    }


def _gemma3_objections(config: PretrainedConfig) -> dict[str, bool]:
    layers, rope = config.num_hidden_layers, config.rope_parameters
    kinds = [
        "sliding_attention" if (layer + 1) % _SLIDING_PERIOD else "full_attention" for layer in range(layers)
    ]
    # llama.cpp takes a gemma3 of 62 layers for the one of 27 billion, whose queries are scaled by another rule.
    scaled = config.hidden_size // config.num_attention_heads if layers == 62 else _head(config)
    activation, scalar = config.hidden_activation, config.query_pre_attn_scalar
    return {
        f"its activation is {activation}, llama.cpp computes the tanh form of gelu": activation
        not in _TANH_GELU,
        f"its query_pre_attn_scalar is {scalar}, llama.cpp scales by {scaled}": scalar != scaled,
        "its rotary positions are scaled": any(row["rope_type"] != "default" for row in rope.values()),
        f"its local rotary base is not {_LOCAL_ROPE_BASE:g}": "sliding_attention" in kinds
        and rope["sliding_attention"]["rope_theta"] != _LOCAL_ROPE_BASE,
        f"its layers do not see everything in every {_SLIDING_PERIOD}th": config.layer_types != kinds,
        "its attention has biases": config.attention_bias,
        "it sees what follows": bool(config.use_bidirectional_attention),
        "its logits are capped": bool(config.final_logit_softcapping or config.attn_logit_softcapping),
    }


def _gemma3_rows(name: str, array: Array, config: PretrainedConfig) -> Array:
    # transformers multiplies by one more than the weight, llama.cpp by the weight.
    return array + 1 if name.endswith("norm.weight") else array


# --- phi, gpt2, bloom: layer norms and biases ---


def _phi_facts(config: PretrainedConfig) -> Facts:
    rope = _rotary(config)
    return {
        "feed_forward_length": config.intermediate_size,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_epsilon": config.layer_norm_eps,
        "rope.dimension_count": int(_head(config) * rope["partial_rotary_factor"]),
        "rope.freq_base": float(rope["rope_theta"]),
    }


def _phi_objections(config: PretrainedConfig) -> dict[str, bool]:
    scaling, activation = _rotary(config)["rope_type"], config.hidden_act
    own = _head(config) * config.num_attention_heads != config.hidden_size
    return {
        f"its activation is {activation}, llama.cpp computes the tanh form of gelu": activation
        not in _TANH_GELU,
        f"its rotary positions are scaled ({scaling})": scaling != "default",
        "its queries and keys are normalised": config.qk_layernorm,
        "its embeddings are tied, phi has an output matrix of its own in llama.cpp": config.tie_word_embeddings,
        "the size of its heads is not the hidden width divided by their number": own,
    }


def _gpt2_facts(config: PretrainedConfig) -> Facts:
    return {
        "feed_forward_length": config.n_inner or 4 * config.hidden_size,
        "attention.layer_norm_epsilon": config.layer_norm_epsilon,
    }


def _gpt2_objections(config: PretrainedConfig) -> dict[str, bool]:
    activation = config.activation_function
    plain = config.scale_attn_weights and not config.scale_attn_by_inverse_layer_idx
    return {
        f"its activation is {activation}, llama.cpp computes the tanh form of gelu": activation
        not in _TANH_GELU,
        "its attention is scaled by another rule than the size of its heads": not plain,
        "it attends to an encoder": config.add_cross_attention,
    }


def _bloom_facts(config: PretrainedConfig) -> Facts:
    return {
        "feed_forward_length": 4 * config.hidden_size,
        "attention.head_count_kv": config.num_attention_heads,
        "attention.layer_norm_epsilon": config.layer_norm_epsilon,
    }


def _bloom_objections(config: PretrainedConfig) -> dict[str, bool]:
    after = config.apply_residual_connection_post_layernorm
    return {"its residual is taken after the norm, llama.cpp takes it before": after}


def _bloom_rows(name: str, array: Array, config: PretrainedConfig) -> Array:
    if ".attn_qkv." not in name:
        return array
    # transformers holds query, key and value of one head after another, llama.cpp all queries, all keys, all values.
    heads = array.reshape(config.num_attention_heads, 3, -1, *array.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(0, 1).reshape(array.shape))


_FAMILIES = {
    "llama": GgufFamily(MODEL_ARCH.LLAMA, _llama_facts, _llama_objections, _llama_rows),
    "qwen3": GgufFamily(MODEL_ARCH.QWEN3, _qwen3_facts, _qwen3_objections),
    "phi": GgufFamily(MODEL_ARCH.PHI2, _phi_facts, _phi_objections),
    "gpt2": GgufFamily(MODEL_ARCH.GPT2, _gpt2_facts, _gpt2_objections, transposed=True),
    "bloom": GgufFamily(MODEL_ARCH.BLOOM, _bloom_facts, _bloom_objections, _bloom_rows),
    "gemma3_text": GgufFamily(MODEL_ARCH.GEMMA3, _gemma3_facts, _gemma3_objections, _gemma3_rows),
}
