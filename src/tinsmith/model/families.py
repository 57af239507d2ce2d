"""Fresh models of known families, by size or of a published shape.

One rule shapes all families:

- The hidden width is a multiple of 64, and of 256 from 1024 on, to fit the blocks of 256 of 4-bit formats.
- Heads have 64 channels, and 128 from a width of 2048 on.
- The MLP's inner width is 8/3 of the hidden width if gated, else 4 times, so that both have as many parameters.
- For each width, the number of layers is the one that comes nearest to the parameter count.
- Of the shapes within a tenth of the count and with at most 32 layers, the one nearest to a width of 32 per layer wins.

Small models gain more from depth than from width (MobileLLM, Liu et al. 2024). Beyond 32 layers depth costs latency and
gains little; published models of 1 to 7 billion have 22 to 36. Below are the published differences of the families.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from tinsmith.base.errors import RecipeError
from tinsmith.base.memory import free_bytes
from tinsmith.model.attention import caps_scores, use_stock_attention
from tinsmith.model.presets import PRESETS

_WIDTH_PER_LAYER = 32
_MOST_LAYERS = 32
_TOLERANCE = 0.1
_POSITIONS = 2048
_FILLED = 0.95  # at least this share of a published vocabulary is not padding
_WHERE = "model.scratch"


@dataclass(frozen=True)
class Shape:
    """The sizes of a fresh model, and its number of parameters (tied embeddings once)."""

    hidden: int
    inner: int
    layers: int
    head: int
    keys: int
    parameters: int

    @property
    def heads(self) -> int:
        """Count the query heads."""
        return self.hidden // self.head


@dataclass(frozen=True)
class Family:
    """What distinguishes a family: how to configure it, and what determines its number of parameters."""

    configure: Callable[[Shape], PreTrainedConfig]
    gated: bool = True
    biased: bool = False
    queries_per_key: int = 1
    layer_norms: int = 2  # vectors of the hidden width in a layer's norms, weights and biases
    outer_norms: int = 1  # the same outside the layers
    head_norms: int = 0  # vectors of the head's size in a layer
    learnt_positions: bool = False
    own_output: bool = False  # an output matrix and its bias beside the embeddings


def _llama(shape: Shape) -> PreTrainedConfig:
    return LlamaConfig(**_sizes(shape), tie_word_embeddings=True)


def _qwen3(shape: Shape) -> PreTrainedConfig:
    return Qwen3Config(**_sizes(shape), head_dim=shape.head, tie_word_embeddings=True)


def _phi(shape: Shape) -> PreTrainedConfig:
    return PhiConfig(**_sizes(shape))


def _gemma3(shape: Shape) -> PreTrainedConfig:
    # llama.cpp scales queries by the head's size and ignores the configuration.
    return Gemma3TextConfig(
        **_sizes(shape), head_dim=shape.head, query_pre_attn_scalar=shape.head, sliding_window=512
    )


def _gpt2(shape: Shape) -> PreTrainedConfig:
    sizes = {"n_embd": shape.hidden, "n_inner": shape.inner, "n_layer": shape.layers, "n_head": shape.heads}
    # llama.cpp's converter reads n_ctx, which transformers no longer has.
    positions = {"n_positions": _POSITIONS, "n_ctx": _POSITIONS}
    return GPT2Config(**sizes, **positions, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)


def _bloom(shape: Shape) -> PreTrainedConfig:
    sizes = {"hidden_size": shape.hidden, "n_layer": shape.layers, "n_head": shape.heads}
    return BloomConfig(**sizes, seq_length=_POSITIONS)


def _sizes(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.keys,
        "max_position_embeddings": _POSITIONS,
    }


FAMILIES: dict[str, Family] = {
    "llama": Family(_llama),
    "qwen3": Family(_qwen3, queries_per_key=2, head_norms=2),
    "phi": Family(_phi, gated=False, biased=True, outer_norms=2, own_output=True),
    "gpt2": Family(_gpt2, gated=False, biased=True, layer_norms=4, outer_norms=2, learnt_positions=True),
    "bloom": Family(_bloom, gated=False, biased=True, layer_norms=4, outer_norms=4),
    "gemma3": Family(_gemma3, queries_per_key=4, layer_norms=4, head_norms=2),
}


def create(
    name: str, tokenizer: PreTrainedTokenizerFast, *, longest: int = 0, seed: int = 0
) -> PreTrainedModel:
    """Create fresh float32 weights for family@size, such as llama@15m, or a published shape, such as phi-2.

    The context is 2,048 tokens, or `longest` where that is more and the family computes its positions. The size counts
    every parameter, tied embeddings once. A published shape keeps its vocabulary if the tokenizer's fills 95 to 100%
    of it; otherwise it takes the tokenizer's. The same seed gives the same weights. Raises RecipeError for an unknown
    name, for a size without a shape, and, before allocating, for weights larger than the free memory.
    """
    config = configure(name, len(tokenizer))
    if longest > _POSITIONS and name not in PRESETS and not FAMILIES[name.partition("@")[0]].learnt_positions:
        config.max_position_embeddings = longest
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    # A padding token's embedding never learns, so the begin and end tokens must not be the padding token.
    used = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    config.pad_token_id = None if tokenizer.pad_token_id in used else tokenizer.pad_token_id
    _require_memory(name, count_parameters(config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if caps_scores(config):
        use_stock_attention(model)
    return model.eval()


def configure(name: str, vocabulary: int) -> PreTrainedConfig:
    """Return the configuration of family@size or of a published shape for a vocabulary. Raises RecipeError."""
    name = name.strip().lower()
    if name in PRESETS:
        config = published(name)
        if not _FILLED * config.vocab_size <= vocabulary <= config.vocab_size:
            config.vocab_size = vocabulary
        return config
    match = re.fullmatch(r"([a-z][a-z0-9]*)@(\d+(?:\.\d+)?)([kmb])", name)
    if not match:
        raise RecipeError(
            f"{name!r} is neither family@size nor a published shape",
            where=_WHERE,
            next_step=f"write it as llama@15m, or use one of {', '.join(PRESETS)}",
        )
    if match[1] not in FAMILIES:
        raise RecipeError(
            f"unknown family {match[1]!r}", where=_WHERE, next_step=f"use one of {', '.join(FAMILIES)}"
        )
    parameters = round(float(match[2]) * {"k": 1e3, "m": 1e6, "b": 1e9}[match[3]])
    config = FAMILIES[match[1]].configure(shape_of(match[1], parameters, vocabulary))
    config.vocab_size = vocabulary
    return config


def published(name: str) -> PreTrainedConfig:
    """Return the configuration of a published shape with its own vocabulary."""
    preset = PRESETS[name]
    config: PreTrainedConfig = AutoConfig.for_model(preset.model_type, **preset.sizes)
    return config


def shape_of(family: str, parameters: int, vocabulary: int) -> Shape:
    """Return a family's shape for a parameter count and a vocabulary, by the rule at the top of this file.

    Raises RecipeError where no shape is within a tenth of the count.
    """
    shapes: list[Shape] = []
    hidden = 0
    while not shapes or shapes[-1].layers > 1 or shapes[-1].parameters <= (1 + _TOLERANCE) * parameters:
        hidden += 64 if hidden < 1024 else 256
        shapes.append(_nearest(FAMILIES[family], hidden, parameters, vocabulary))
    near = [
        shape
        for shape in shapes
        if abs(shape.parameters - parameters) <= _TOLERANCE * parameters and shape.layers <= _MOST_LAYERS
    ]
    if not near:
        raise RecipeError(
            f"no {family} with a vocabulary of {vocabulary:,} has about {parameters:,} parameters",
            where=_WHERE,
            next_step=f"ask for at least {shapes[0].parameters:,}, or use a smaller vocabulary",
        )
    return min(near, key=lambda shape: abs(math.log(shape.hidden / shape.layers / _WIDTH_PER_LAYER)))


def _nearest(family: Family, hidden: int, parameters: int, vocabulary: int) -> Shape:
    """Return the shape of a given width whose number of layers comes nearest to the count."""
    step = 64 if hidden < 1024 else 256
    inner = step * max(1, round(8 * hidden / 3 / step)) if family.gated else 4 * hidden
    head = 64 if hidden < 2048 else 128
    heads = hidden // head
    keys = max(n for n in range(1, heads // min(heads, family.queries_per_key) + 1) if heads % n == 0)
    ups = 2 if family.gated else 1
    matrices = (
        [(hidden, hidden)] * 2 + [(hidden, keys * head)] * 2 + [(hidden, inner)] * ups + [(inner, hidden)]
    )
    layer = sum(rows * columns for rows, columns in matrices)
    layer += sum(columns for _, columns in matrices) if family.biased else 0
    layer += family.layer_norms * hidden + family.head_norms * head
    rest = vocabulary * hidden + family.outer_norms * hidden
    rest += _POSITIONS * hidden if family.learnt_positions else 0
    rest += vocabulary * hidden + vocabulary if family.own_output else 0
    layers = max(1, round((parameters - rest) / layer))
    return Shape(hidden, inner, layers, head, keys, rest + layers * layer)


def count_parameters(config: PreTrainedConfig) -> int:
    """Count the parameters of a configuration, tied weights once, without allocating them."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return sum(parameter.numel() for parameter in model.parameters())


def _require_memory(name: str, parameters: int) -> None:
    needed, free = 4 * parameters, free_bytes()
    if needed > free:
        raise RecipeError(
            f"the {parameters:,} weights of {name} take {needed / 1e9:,.1f} GB in float32; "
            f"{free / 1e9:,.1f} GB of memory are free",
            where=_WHERE,
            next_step="use a smaller model, or a machine with more memory",
        )
