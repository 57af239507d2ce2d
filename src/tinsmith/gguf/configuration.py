"""The configuration and the tensors of a GGUF file in transformers' terms: the inverse of what the writer does.

The loader inside transformers drops what its tables do not name: biases of a llama, Llama 3's slowed frequencies,
scaled positions, and that a phi3 turns a part of its channels. It opens such a file without an error, and computes
something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.gguf_reader import ReaderTensor
from transformers import AutoConfig, PretrainedConfig

from gguf import MODEL_ARCH, dequantize, get_tensor_name_map
from tinsmith.base.errors import AssetError
from tinsmith.gguf.families import default_settings
from tinsmith.gguf.family import Array, query_scalar
from tinsmith.gguf.gated_families import GATED_FAMILIES
from tinsmith.gguf.metadata import STOP_KEYS

Metadata = dict[str, Any]
Tensors = dict[str, ReaderTensor]
_ROPE_FREQUENCIES = "rope_freqs.weight"
# The only slowed frequencies that are published: of Llama 3.1 and later. `factor` is read from the file.
_LLAMA_3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@dataclass(frozen=True)
class ReadableFamily:
    """How to open files of one architecture: the settings of its configuration, and its order of rows."""

    model_type: str
    settings: Callable[[Metadata, Tensors], dict[str, Any]]
    interleaved: bool = False  # rows of queries and keys are pairs of both halves of a head
    shifted_norms: bool = False  # the file holds 1 + weight


def is_readable(architecture: str) -> bool:
    """Say whether files of an architecture are opened here."""
    return architecture in _READABLE


def configuration(metadata: Metadata, tensors: Iterable[ReaderTensor], where: Path) -> PretrainedConfig:
    """Return the configuration of a file of a readable architecture. Raises AssetError for positions unknown to us."""
    architecture = metadata["general.architecture"]
    family, by_name = _READABLE[architecture], {tensor.name: tensor for tensor in tensors}
    own = default_settings(architecture) | {
        key.removeprefix(f"{architecture}."): value for key, value in metadata.items()
    }
    config: PretrainedConfig = AutoConfig.for_model(
        family.model_type,
        vocab_size=len(own["tokenizer.ggml.tokens"]),
        hidden_size=own["embedding_length"],
        intermediate_size=own["feed_forward_length"],
        num_hidden_layers=own["block_count"],
        num_attention_heads=own["attention.head_count"],
        max_position_embeddings=own["context_length"],
        tie_word_embeddings="output.weight" not in by_name,
        bos_token_id=own.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=_stops(own),
        pad_token_id=own.get("tokenizer.ggml.padding_token_id"),
        **family.settings(own, by_name),
    )
    if _ROPE_FREQUENCIES in by_name:
        _require_frequencies(config, by_name[_ROPE_FREQUENCIES], where)
    return config


def _stops(metadata: Metadata) -> int | list[int] | None:
    """Return the tokens on which generation ends, as a configuration names one or several."""
    found = [metadata.get(f"tokenizer.ggml.{key}") for key in STOP_KEYS]
    stops = list(dict.fromkeys(stop for stop in found if stop is not None))
    return stops if len(stops) > 1 else stops[0] if stops else None


def checkpoint_tensors(
    architecture: str, config: PretrainedConfig, keys: Iterable[str], tensors: Iterable[ReaderTensor]
) -> Iterator[tuple[str, Array]]:
    """Yield (checkpoint key, float32 array) of each of `keys` that the file holds, rows in the checkpoint's order."""
    family, by_name = _READABLE[architecture], {tensor.name: tensor for tensor in tensors}
    names = get_tensor_name_map(MODEL_ARCH[architecture.upper()], config.num_hidden_layers)
    for key in keys:
        tensor = by_name.get(names.get_name(key, (".weight", ".bias")) or "")
        if tensor is None:
            continue
        array = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if family.interleaved and ".attn_q." in tensor.name:
            array = _halves(array, config.num_attention_heads)
        elif family.interleaved and ".attn_k." in tensor.name:
            array = _halves(array, config.num_key_value_heads)
        elif family.shifted_norms and tensor.name.endswith("norm.weight"):
            array -= 1
        elif tensor.name.endswith(".shortconv.conv.weight"):
            array = array[:, None]
        yield key, array


def _halves(array: Array, heads: int) -> Array:
    """Undo `interleave_halves`: order the rows of each head as [first half, second half] again."""
    size = array.shape[0] // heads
    pairs = array.reshape(heads, size // 2, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(array.shape))


def _gated(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    heads = metadata["attention.head_count"]
    return {
        "num_key_value_heads": metadata.get("attention.head_count_kv", heads),
        "rms_norm_eps": metadata["attention.layer_norm_rms_epsilon"],
        "head_dim": metadata.get("attention.key_length", metadata["embedding_length"] // heads),
        "rope_parameters": _rope(metadata, tensors),
    }


def _rope(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": metadata.get("rope.freq_base", 10000.0)}
    scaling = metadata.get("rope.scaling.type", "none")
    if scaling != "none":
        rope |= {"rope_type": scaling, "factor": metadata["rope.scaling.factor"]}
    if scaling == "yarn":
        rope["original_max_position_embeddings"] = metadata["rope.scaling.original_context_length"]
        for bound in ("beta_fast", "beta_slow"):
            if (value := metadata.get(f"rope.scaling.yarn_{bound}")) is not None:
                rope[bound] = value
    if _ROPE_FREQUENCIES in tensors:
        rope |= {"rope_type": "llama3", "factor": float(tensors[_ROPE_FREQUENCIES].data.max()), **_LLAMA_3}
    return rope


def _require_frequencies(config: PretrainedConfig, tensor: ReaderTensor, where: Path) -> None:
    """Raise AssetError unless the configuration gives the slowed frequencies that the file holds."""
    expected = GATED_FAMILIES["llama"].extra(config)[_ROPE_FREQUENCIES]
    if expected.shape != tensor.data.shape or not np.allclose(expected, tensor.data, rtol=1e-4):
        raise AssetError(
            "its rotary frequencies are slowed in another way than Llama 3's",
            where=str(where),
            next_step="use the model's Hugging Face directory instead",
        )


def _llama(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    return {
        **_gated(metadata, tensors),
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in tensors,
    }


def _granite(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    return {
        **_gated(metadata, tensors),
        "attention_multiplier": metadata["attention.scale"],
        "embedding_multiplier": metadata["embedding_scale"],
        "residual_multiplier": metadata["residual_scale"],
        "logits_scaling": metadata["logit_scale"],
    }


def _phi3(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    settings = _gated(metadata, tensors)
    size = metadata["embedding_length"] // metadata["attention.head_count"]
    original = metadata.get("rope.scaling.original_context_length", metadata["context_length"])
    rope = {
        **settings["rope_parameters"],
        "partial_rotary_factor": metadata.get("rope.dimension_count", size) / size,
        "original_max_position_embeddings": original,
    }
    factors = {length: tensors.get(f"rope_factors_{length}.weight") for length in ("long", "short")}
    if factors["long"] is not None and factors["short"] is not None:
        rope |= {"rope_type": "longrope", "attention_factor": metadata.get("rope.scaling.attn_factor", 1.0)}
        rope |= {f"{length}_factor": tensor.data.tolist() for length, tensor in factors.items() if tensor}
    window = metadata.get("attention.sliding_window") or None
    return {
        **settings,
        "rope_parameters": rope,
        "sliding_window": window,
        "original_max_position_embeddings": original,
    }


def _gemma(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    settings = _gated(metadata, tensors)
    return {
        **settings,
        "query_pre_attn_scalar": query_scalar(
            metadata["general.architecture"],
            metadata["block_count"],
            metadata["embedding_length"],
            metadata["attention.head_count"],
            settings["head_dim"],
        ),
        "sliding_window": metadata["attention.sliding_window"],
        "final_logit_softcapping": metadata.get("final_logit_softcapping"),
    }


def _gemma2(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    return {**_gemma(metadata, tensors), "attn_logit_softcapping": metadata["attn_logit_softcapping"]}


def _gemma3(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    settings = _gemma(metadata, tensors)
    whole = settings.pop("rope_parameters")
    local = {"rope_type": "default", "rope_theta": 10000.0}
    return {
        **settings,
        "rope_parameters": {"full_attention": whole, "sliding_attention": local},
    }


def _lfm2(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    keys = metadata["attention.head_count_kv"]
    return {
        "num_key_value_heads": max(keys),
        "layer_types": ["full_attention" if count else "conv" for count in keys],
        "norm_eps": metadata["attention.layer_norm_rms_epsilon"],
        "conv_L_cache": metadata["shortconv.l_cache"],
        "block_auto_adjust_ff_dim": False,
        "rope_parameters": _rope(metadata, tensors),
    }


def _phi(metadata: Metadata, tensors: Tensors) -> dict[str, Any]:
    heads = metadata["attention.head_count"]
    part = metadata["rope.dimension_count"] / (metadata["embedding_length"] // heads)
    return {
        "num_key_value_heads": metadata.get("attention.head_count_kv", heads),
        "layer_norm_eps": metadata["attention.layer_norm_epsilon"],
        "rope_parameters": {**_rope(metadata, tensors), "partial_rotary_factor": part},
    }


_READABLE = {
    "llama": ReadableFamily("llama", _llama, interleaved=True),
    "qwen2": ReadableFamily("qwen2", _gated),
    "qwen3": ReadableFamily("qwen3", _gated),
    "smollm3": ReadableFamily("smollm3", _gated, interleaved=True),
    "granite": ReadableFamily("granite", _granite, interleaved=True),
    "olmo2": ReadableFamily("olmo2", _gated),
    "phi3": ReadableFamily("phi3", _phi3),
    "gemma2": ReadableFamily("gemma2", _gemma2, shifted_norms=True),
    "gemma3": ReadableFamily("gemma3_text", _gemma3, shifted_norms=True),
    "lfm2": ReadableFamily("lfm2", _lfm2),
    "phi2": ReadableFamily("phi", _phi),
}
