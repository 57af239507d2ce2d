"""The families with layer norms and biases: phi, gpt2, bloom."""

from __future__ import annotations

import numpy as np
from transformers import PretrainedConfig

from gguf import MODEL_ARCH
from tinsmith.gguf.family import TANH_GELU, Array, GgufFamily, Metadata, Unsupported, head_size, rotary


def _phi_metadata(config: PretrainedConfig) -> Metadata:
    rope = rotary(config)
    return {
        "feed_forward_length": config.intermediate_size,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_epsilon": config.layer_norm_eps,
        "rope.dimension_count": int(head_size(config) * rope["partial_rotary_factor"]),
        "rope.freq_base": float(rope["rope_theta"]),
    }


def _phi_unsupported(config: PretrainedConfig) -> Unsupported:
    scaling, activation = rotary(config)["rope_type"], config.hidden_act
    odd_heads = head_size(config) * config.num_attention_heads != config.hidden_size
    return {
        f"its activation is {activation}, llama.cpp computes the tanh form of gelu": activation
        not in TANH_GELU,
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
        not in TANH_GELU,
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


BIASED_FAMILIES = {
    "phi": GgufFamily(MODEL_ARCH.PHI2, _phi_metadata, _phi_unsupported),
    "gpt2": GgufFamily(MODEL_ARCH.GPT2, _gpt2_metadata, _gpt2_unsupported, transposed=True),
    "bloom": GgufFamily(MODEL_ARCH.BLOOM, _bloom_metadata, _bloom_unsupported, _bloom_reorder),
}
