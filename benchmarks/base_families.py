"""Configurations of the families that people start from, tiny, with every setting that a published one has."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

_SIZES: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 100.0}
_YARN = {**_ROPE, "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
_LLAMA_3 = {
    **{"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 32.0},
    **{"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
}
_LONG = {
    **{**_ROPE, "rope_type": "longrope", "partial_rotary_factor": 0.75},
    "original_max_position_embeddings": 256,
    "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 5.0],
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
}
_GRANITE = {"attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.6}


def _sizes(**changed: Any) -> dict[str, Any]:
    return {"rope_parameters": _ROPE, **_SIZES, **changed}


def base_configs() -> dict[str, PreTrainedConfig]:
    """Return a tiny configuration of each family and form, by name."""
    part = {**_ROPE, "partial_rotary_factor": 0.75}
    lfm2 = ["conv", "full_attention"] * 2
    return {
        "llama 2": LlamaConfig(**_sizes()),
        "llama 3.2": LlamaConfig(**_sizes(head_dim=32, tie_word_embeddings=True, rope_parameters=_LLAMA_3)),
        "llama with biases": LlamaConfig(**_sizes(attention_bias=True, mlp_bias=True)),
        "llama, linear": LlamaConfig(
            **_sizes(rope_parameters={**_ROPE, "rope_type": "linear", "factor": 4.0})
        ),
        "llama, yarn": LlamaConfig(**_sizes(rope_parameters=_YARN)),
        "mistral": MistralConfig(**_sizes(sliding_window=None)),
        "qwen2.5": Qwen2Config(**_sizes(tie_word_embeddings=True)),
        "qwen2.5, yarn": Qwen2Config(**_sizes(rope_parameters=_YARN)),
        "qwen3": Qwen3Config(**_sizes(head_dim=32)),
        "smollm3": SmolLM3Config(**_sizes()),
        "granite": GraniteConfig(**_sizes(tie_word_embeddings=True, logits_scaling=4.0, **_GRANITE)),
        "olmo-2": Olmo2Config(**_sizes()),
        "phi-3": Phi3Config(**_sizes(original_max_position_embeddings=512, rope_parameters=part)),
        "phi-4-mini": Phi3Config(
            **_sizes(
                max_position_embeddings=4096,
                original_max_position_embeddings=256,
                rope_parameters=_LONG,
                tie_word_embeddings=True,
            )
        ),
        "gemma 2": Gemma2Config(
            **_sizes(),
            head_dim=32,
            query_pre_attn_scalar=32,
            sliding_window=16,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=5.0,
        ),
        "gemma 3": Gemma3TextConfig(
            **{**_SIZES, "num_hidden_layers": 6}, head_dim=16, query_pre_attn_scalar=16, sliding_window=16
        ),
        "lfm2": Lfm2Config(**_sizes(layer_types=lfm2, block_multiple_of=64)),
    }


def random_base(config: PreTrainedConfig) -> PreTrainedModel:
    """Return random weights of every kind of tensor, wide enough that each of them changes the answer."""
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3 if "embed" in name or "lm_head" in name else 0.15)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()
