"""Published shapes by name: a model's exact sizes and vocabulary, without its weights.

GPT-3's shape is table 2.1 of Brown et al. 2020 as a GPT-2, which has the same parameters; but every layer attends to
all tokens, where every other one of GPT-3 is banded. No shape has dropout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A published shape: the model type and sizes of its configuration, and its parameters (tied weights once)."""

    model_type: str
    parameters: int
    sizes: dict[str, Any] = field(repr=False)


def _llama(
    parameters: int,
    *,
    hidden: int,
    inner: int,
    layers: int,
    heads: int,
    keys: int,
    base: float = 10000.0,
    **rest: Any,
) -> Preset:
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    attention = {"num_attention_heads": heads, "num_key_value_heads": keys, "rms_norm_eps": 1e-5}
    rope = {"rope_type": "default", "rope_theta": base}
    return Preset("llama", parameters, {**sizes, **attention, "rope_parameters": rope, **rest})


def _qwen3(parameters: int, *, hidden: int, inner: int, layers: int) -> Preset:
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    attention = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    rope = {"rope_type": "default", "rope_theta": 1e6}
    rest = {"vocab_size": 151_936, "max_position_embeddings": 40_960, "tie_word_embeddings": True}
    return Preset("qwen3", parameters, {**sizes, **attention, "rope_parameters": rope, **rest})


def _gpt2(parameters: int, *, hidden: int, layers: int, heads: int, positions: int = 1024) -> Preset:
    sizes = {"n_embd": hidden, "n_layer": layers, "n_head": heads}
    # llama.cpp's converter reads n_ctx, which transformers no longer has.
    context = {"n_positions": positions, "n_ctx": positions}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return Preset("gpt2", parameters, {**sizes, **context, **dropout, "vocab_size": 50_257})


def _bloom(parameters: int, *, hidden: int, layers: int, heads: int) -> Preset:
    sizes = {"hidden_size": hidden, "n_layer": layers, "n_head": heads}
    return Preset("bloom", parameters, {**sizes, "vocab_size": 250_880, "seq_length": 2048})


def _phi(parameters: int, *, hidden: int, layers: int, rotated: float) -> Preset:
    sizes = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": rotated}
    rest = {"num_attention_heads": 32, "vocab_size": 51_200, "max_position_embeddings": 2048}
    return Preset("phi", parameters, {**sizes, "rope_parameters": rope, **rest})


def _gemma2(parameters: int, *, hidden: int, inner: int, layers: int, heads: int, keys: int) -> Preset:
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    attention = {"num_attention_heads": heads, "num_key_value_heads": keys, "head_dim": 256}
    return Preset("gemma2", parameters, {**sizes, **attention, "vocab_size": 256_000})


def _gemma3(parameters: int, *, hidden: int, inner: int, layers: int) -> Preset:
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    attention = {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "sliding_window": 512}
    rest = {"vocab_size": 262_144, "max_position_embeddings": 32_768, "query_pre_attn_scalar": 256}
    return Preset("gemma3_text", parameters, {**sizes, **attention, **rest})


_LLAMA_2 = {"vocab_size": 32_000, "max_position_embeddings": 4096, "tie_word_embeddings": False}
_SMOL = {"vocab_size": 49_152, "max_position_embeddings": 8192, "tie_word_embeddings": True}

PRESETS: dict[str, Preset] = {
    "llama-2-7b": _llama(6_738_415_616, hidden=4096, inner=11_008, layers=32, heads=32, keys=32, **_LLAMA_2),
    "llama-2-13b": _llama(
        13_015_864_320, hidden=5120, inner=13_824, layers=40, heads=40, keys=40, **_LLAMA_2
    ),
    "llama-2-70b": _llama(68_976_648_192, hidden=8192, inner=28_672, layers=80, heads=64, keys=8, **_LLAMA_2),
    "smollm2-135m": _llama(
        134_515_008, hidden=576, inner=1536, layers=30, heads=9, keys=3, base=1e5, **_SMOL
    ),
    "smollm2-360m": _llama(
        361_821_120, hidden=960, inner=2560, layers=32, heads=15, keys=5, base=1e5, **_SMOL
    ),
    "smollm2-1.7b": _llama(
        1_711_376_384, hidden=2048, inner=8192, layers=24, heads=32, keys=32, base=1.3e5, **_SMOL
    ),
    "qwen3-0.6b": _qwen3(596_049_920, hidden=1024, inner=3072, layers=28),
    "qwen3-1.7b": _qwen3(1_720_574_976, hidden=2048, inner=6144, layers=28),
    "phi-1.5": _phi(1_418_270_720, hidden=2048, layers=24, rotated=0.5),
    "phi-2": _phi(2_779_683_840, hidden=2560, layers=32, rotated=0.4),
    "gpt2": _gpt2(124_439_808, hidden=768, layers=12, heads=12),
    "gpt2-xl": _gpt2(1_557_611_200, hidden=1600, layers=48, heads=25),
    "gpt3-175b": _gpt2(174_604_259_328, hidden=12_288, layers=96, heads=96, positions=2048),
    "bloom-560m": _bloom(559_214_592, hidden=1024, layers=24, heads=16),
    "bloom-176b": _bloom(176_247_271_424, hidden=14_336, layers=70, heads=112),
    "gemma-2-2b": _gemma2(2_614_341_888, hidden=2304, inner=9216, layers=26, heads=8, keys=4),
    "gemma-2-9b": _gemma2(9_241_705_984, hidden=3584, inner=14_336, layers=42, heads=16, keys=8),
    "gemma-3-270m": _gemma3(268_098_176, hidden=640, inner=2048, layers=18),
    "gemma-3-1b": _gemma3(999_885_952, hidden=1152, inner=6912, layers=26),
}
