"""The families with root-mean-square norms and a gated MLP: llama and its many relatives.

Facts of each architecture are those of llama.cpp's src/models and conversion scripts (MIT licence). Each family is
held against llama.cpp by the tests, with random weights of every kind of tensor.
"""

from __future__ import annotations

import math

import numpy as np
from transformers import PretrainedConfig

from gguf import MODEL_ARCH
from tinsmith.gguf.family import (
    TANH_GELU,
    Array,
    GgufFamily,
    Metadata,
    Unsupported,
    context_length,
    head_size,
    interleave_halves,
    query_scalar,
    rotary,
)

_SMOLLM3_PERIOD = 4  # every fourth layer of a smollm3 has no positions
_LOCAL_ROPE_BASE = 10000.0
_GEMMA2_DEFAULTS: Metadata = {
    "attention.sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}


def _gated_metadata(config: PretrainedConfig) -> Metadata:
    metadata: Metadata = {
        "feed_forward_length": config.intermediate_size,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": head_size(config),
    }
    if head_size(config) * config.num_attention_heads != config.hidden_size:
        metadata |= _head_sizes(config)
    return metadata


def _head_sizes(config: PretrainedConfig) -> Metadata:
    return {"attention.key_length": head_size(config), "attention.value_length": head_size(config)}


def _rope_metadata(config: PretrainedConfig) -> Metadata:
    """Return the base of rotary positions, and a scaling that llama.cpp computes from figures alone."""
    rope = rotary(config)
    metadata: Metadata = {"rope.freq_base": float(rope["rope_theta"])}
    if rope["rope_type"] in ("linear", "yarn"):
        metadata |= {"rope.scaling.type": rope["rope_type"], "rope.scaling.factor": float(rope["factor"])}
    if rope["rope_type"] == "yarn":
        metadata["rope.scaling.original_context_length"] = _original_context(config)
        metadata["rope.scaling.yarn_beta_fast"] = float(rope.get("beta_fast") or 32)
        metadata["rope.scaling.yarn_beta_slow"] = float(rope.get("beta_slow") or 1)
    return metadata


def _original_context(config: PretrainedConfig) -> int:
    return int(rotary(config).get("original_max_position_embeddings") or context_length(config))


def _unsupported(config: PretrainedConfig, *scalings: str) -> Unsupported:
    """Return the reasons that most families share; `scalings` are the scaled positions that the family computes."""
    rope = rotary(config)
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    window = getattr(config, "sliding_window", None)
    windowed = "sliding_attention" in kinds or (config.model_type in ("mistral", "phi3") and window)
    part = float(rope.get("partial_rotary_factor") or 1.0)
    fixed = any(rope.get(key) is not None for key in ("attention_factor", "mscale", "mscale_all_dim"))
    return {
        f"its activation is {config.hidden_act}, llama.cpp computes silu": config.hidden_act != "silu",
        f"its rotary positions are scaled ({rope['rope_type']})": rope["rope_type"]
        not in ("default", *scalings),
        "its scaled rotary positions have a factor of attention of their own": rope["rope_type"] == "yarn"
        and fixed,
        f"only a part of its channels ({part:g}) has rotary positions": part != 1
        and config.model_type != "phi3",
        f"its layers attend to a window of {window} tokens of {context_length(config)}": bool(windowed)
        and (window or 0) < context_length(config),
    }


def _has_biases(config: PretrainedConfig, arch: str) -> Unsupported:
    return {
        f"its attention has biases, which llama.cpp's {arch} does not have": bool(
            getattr(config, "attention_bias", False)
        ),
        f"its MLP has biases, which llama.cpp's {arch} does not have": bool(
            getattr(config, "mlp_bias", False)
        ),
    }


# --- llama, mistral ---


def _llama_metadata(config: PretrainedConfig) -> Metadata:
    return {**_gated_metadata(config), **_rope_metadata(config)}


def _llama_unsupported(config: PretrainedConfig) -> Unsupported:
    return _unsupported(config, "llama3", "linear", "yarn")


def _llama_reorder(name: str, array: Array, config: PretrainedConfig) -> Array:
    # llama.cpp rotates neighbouring rows of a head; transformers rotates rows half a head apart.
    if ".attn_q." in name:
        return interleave_halves(array, config.num_attention_heads)
    if ".attn_k." in name:
        return interleave_halves(array, config.num_key_value_heads)
    return array


def _llama3_factors(config: PretrainedConfig) -> dict[str, Array]:
    """Return by how much Llama 3.1 slows each rotary frequency: not at all the fast ones, by `factor` the slow ones."""
    rope, size = rotary(config), head_size(config)
    if rope["rope_type"] != "llama3":
        return {}
    frequencies = float(rope["rope_theta"]) ** -(np.arange(0, size, 2, dtype=np.float64) / size)
    turns = _original_context(config) * frequencies / (2 * math.pi)
    low, high, factor = (float(rope[key]) for key in ("low_freq_factor", "high_freq_factor", "factor"))
    # Between the two, the inverse factor grows linearly with the turns in the original context.
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return {"rope_freqs.weight": (1 / ((1 - blend) / factor + blend)).astype(np.float32)}


# --- smollm3, granite ---


def _smollm3_unsupported(config: PretrainedConfig) -> Unsupported:
    expected = [int((layer + 1) % _SMOLLM3_PERIOD != 0) for layer in range(config.num_hidden_layers)]
    return {
        **_unsupported(config, "linear", "yarn"),
        **_has_biases(config, "smollm3"),
        f"not every {_SMOLLM3_PERIOD}th layer, or not only those, is without positions": [
            int(layer) for layer in config.no_rope_layers
        ]
        != expected,
    }


def _granite_metadata(config: PretrainedConfig) -> Metadata:
    return {
        **_llama_metadata(config),
        "attention.scale": float(config.attention_multiplier),
        "embedding_scale": float(config.embedding_multiplier),
        "residual_scale": float(config.residual_multiplier),
        "logit_scale": float(config.logits_scaling),
    }


def _granite_unsupported(config: PretrainedConfig) -> Unsupported:
    return {**_unsupported(config, "linear", "yarn"), **_has_biases(config, "granite")}


# --- qwen2, qwen3, olmo2 ---


def _qwen2_unsupported(config: PretrainedConfig) -> Unsupported:
    return _unsupported(config, "linear", "yarn")


def _qwen3_metadata(config: PretrainedConfig) -> Metadata:
    return {**_llama_metadata(config), **_head_sizes(config)}


def _qwen3_unsupported(config: PretrainedConfig) -> Unsupported:
    biases = "its attention has biases, which llama.cpp's qwen3 does not have"
    return {**_unsupported(config, "linear", "yarn"), biases: config.attention_bias}


def _olmo2_unsupported(config: PretrainedConfig) -> Unsupported:
    return {**_unsupported(config), **_has_biases(config, "olmo2")}


# --- phi3 ---


def _phi3_metadata(config: PretrainedConfig) -> Metadata:
    rope = rotary(config)
    metadata: Metadata = {
        **_gated_metadata(config),
        "rope.freq_base": float(rope["rope_theta"]),
        "rope.dimension_count": int(head_size(config) * float(rope.get("partial_rotary_factor") or 1.0)),
        "rope.scaling.original_context_length": _original_context(config),
        "attention.sliding_window": 0,
    }
    if rope["rope_type"] == "longrope":
        metadata["rope.scaling.attn_factor"] = _longrope_attention(config)
    return metadata


def _longrope_attention(config: PretrainedConfig) -> float:
    given = rotary(config).get("attention_factor")
    longer = config.max_position_embeddings / _original_context(config)
    if given is not None or longer <= 1:
        return float(given or 1.0)
    return math.sqrt(1 + math.log(longer) / math.log(_original_context(config)))


def _phi3_factors(config: PretrainedConfig) -> dict[str, Array]:
    rope = rotary(config)
    if rope["rope_type"] != "longrope":
        return {}
    return {
        f"rope_factors_{length}.weight": np.array(rope[f"{length}_factor"], dtype=np.float32)
        for length in ("long", "short")
    }


def _phi3_unsupported(config: PretrainedConfig) -> Unsupported:
    return {**_unsupported(config, "longrope"), **_has_biases(config, "phi3")}


# --- gemma2, gemma3 ---


def _gemma_unsupported(config: PretrainedConfig, architecture: str, period: int, nth: str) -> Unsupported:
    """Return the reasons that both share; every `period`-th layer attends to the whole context."""
    kinds = [
        "full_attention" if (layer + 1) % period == 0 else "sliding_attention"
        for layer in range(config.num_hidden_layers)
    ]
    activation, scalar = config.hidden_activation, config.query_pre_attn_scalar
    sizes = config.num_hidden_layers, config.hidden_size, config.num_attention_heads, head_size(config)
    scaled = query_scalar(architecture, *sizes)
    return {
        f"its activation is {activation}, llama.cpp computes the tanh form of gelu": activation
        not in TANH_GELU,
        f"its query_pre_attn_scalar is {scalar}, llama.cpp scales by {scaled}": scalar != scaled,
        f"not every {nth} layer, or not only those, attends to the whole context": config.layer_types
        != kinds,
        "its window of tokens has no size": not config.sliding_window,
        "its attention has biases": config.attention_bias,
        "its attention is bidirectional": bool(config.use_bidirectional_attention),
    }


def _gemma_reorder(name: str, array: Array, config: PretrainedConfig) -> Array:
    # transformers multiplies by 1 + weight, llama.cpp by the weight.
    return array + 1 if name.endswith("norm.weight") else array


def _gemma2_metadata(config: PretrainedConfig) -> Metadata:
    return {
        **_llama_metadata(config),
        **_head_sizes(config),
        "attention.sliding_window": config.sliding_window,
        "attn_logit_softcapping": float(config.attn_logit_softcapping),
        "final_logit_softcapping": float(config.final_logit_softcapping),
    }


def _gemma2_unsupported(config: PretrainedConfig) -> Unsupported:
    scaling = rotary(config)["rope_type"]
    return {
        **_gemma_unsupported(config, "gemma2", 2, "2nd"),
        f"its rotary positions are scaled ({scaling})": scaling != "default",
        "its scores of attention are not capped, whereas llama.cpp always caps them": not config.attn_logit_softcapping,
        "its logits are not capped, whereas llama.cpp always caps them": not config.final_logit_softcapping,
        "its output matrix is not that of its embeddings, which llama.cpp takes": not config.tie_word_embeddings,
    }


def _gemma3_metadata(config: PretrainedConfig) -> Metadata:
    return {
        **_gated_metadata(config),
        **_head_sizes(config),
        "attention.sliding_window": config.sliding_window,
        "rope.freq_base": float(config.rope_parameters["full_attention"]["rope_theta"]),
    }


def _gemma3_unsupported(config: PretrainedConfig) -> Unsupported:
    rope = config.rope_parameters
    return {
        **_gemma_unsupported(config, "gemma3", 6, "6th"),
        "its rotary positions are scaled": any(
            settings["rope_type"] != "default" for settings in rope.values()
        ),
        f"its local rotary base is not {_LOCAL_ROPE_BASE:g}": "sliding_attention" in config.layer_types
        and rope["sliding_attention"]["rope_theta"] != _LOCAL_ROPE_BASE,
        "its logits are capped": bool(config.final_logit_softcapping or config.attn_logit_softcapping),
    }


# --- lfm2 ---


def _lfm2_metadata(config: PretrainedConfig) -> Metadata:
    keys = [config.num_key_value_heads if kind == "full_attention" else 0 for kind in config.layer_types]
    return {
        "feed_forward_length": _lfm2_inner(config),
        "attention.head_count_kv": keys,
        "attention.layer_norm_rms_epsilon": config.norm_eps,
        "shortconv.l_cache": config.conv_L_cache,
        "rope.freq_base": float(rotary(config)["rope_theta"]),
    }


def _lfm2_inner(config: PretrainedConfig) -> int:
    """Return the MLP's inner width, which the configuration names before an adjustment."""
    if not config.block_auto_adjust_ff_dim:
        return int(config.intermediate_size)
    width = int(int(2 * config.intermediate_size / 3) * (config.block_ffn_dim_multiplier or 1))
    return int(-(-width // config.block_multiple_of) * config.block_multiple_of)


def _lfm2_unsupported(config: PretrainedConfig) -> Unsupported:
    scaling = rotary(config)["rope_type"]
    return {
        f"its rotary positions are scaled ({scaling})": scaling != "default",
        "its convolutions have biases, which llama.cpp's lfm2 does not have": bool(config.conv_bias),
    }


GATED_FAMILIES = {
    "llama": GgufFamily(
        MODEL_ARCH.LLAMA, _llama_metadata, _llama_unsupported, _llama_reorder, _llama3_factors
    ),
    "mistral": GgufFamily(
        MODEL_ARCH.LLAMA, _llama_metadata, _llama_unsupported, _llama_reorder, _llama3_factors
    ),
    "qwen2": GgufFamily(MODEL_ARCH.QWEN2, _llama_metadata, _qwen2_unsupported),
    "qwen3": GgufFamily(MODEL_ARCH.QWEN3, _qwen3_metadata, _qwen3_unsupported),
    "smollm3": GgufFamily(MODEL_ARCH.SMOLLM3, _llama_metadata, _smollm3_unsupported, _llama_reorder),
    "granite": GgufFamily(MODEL_ARCH.GRANITE, _granite_metadata, _granite_unsupported, _llama_reorder),
    "olmo2": GgufFamily(MODEL_ARCH.OLMO2, _llama_metadata, _olmo2_unsupported),
    "phi3": GgufFamily(MODEL_ARCH.PHI3, _phi3_metadata, _phi3_unsupported, extra=_phi3_factors),
    "gemma2": GgufFamily(
        MODEL_ARCH.GEMMA2, _gemma2_metadata, _gemma2_unsupported, _gemma_reorder, defaults=_GEMMA2_DEFAULTS
    ),
    "gemma3_text": GgufFamily(MODEL_ARCH.GEMMA3, _gemma3_metadata, _gemma3_unsupported, _gemma_reorder),
    "lfm2": GgufFamily(MODEL_ARCH.LFM2, _lfm2_metadata, _lfm2_unsupported),
}
