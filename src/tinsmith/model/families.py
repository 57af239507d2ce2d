"""Fresh models of known families, sized by their number of parameters."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.foundation.errors import RecipeError

_HEAD = 64
_WIDTH_PER_LAYER = 32  # small models gain more from depth than from width
_TOLERANCE = 0.1
_POSITIONS = 2048
_WHERE = "model.scratch"


class Shape(NamedTuple):
    """The sizes of a llama: hidden width, inner width of the gated layer, layers, parameters in all."""

    hidden: int
    inner: int
    layers: int
    parameters: int


def create(name: str, tokenizer: PreTrainedTokenizerFast, *, seed: int = 0) -> PreTrainedModel:
    """Make fresh float32 weights for family@size, such as llama@15m. Raises RecipeError.

    The size counts every parameter, tied embeddings once. The same seed gives the same weights.
    """
    match = re.fullmatch(r"([a-z][a-z0-9]*)@(\d+(?:\.\d+)?)([kmb])", name.strip().lower())
    if not match:
        raise RecipeError(f"{name!r} is no family@size", where=_WHERE, next_step="write it as llama@15m")
    if match[1] != "llama":
        raise RecipeError(f"unknown family {match[1]!r}", where=_WHERE, next_step="use llama")
    shape = llama_shape(round(float(match[2]) * {"k": 1e3, "m": 1e6, "b": 1e9}[match[3]]), len(tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(_llama_config(shape, tokenizer))
    return model.float().eval()


def llama_shape(parameters: int, vocabulary: int) -> Shape:
    """Return the shape for a count of parameters and a vocabulary. Raises RecipeError where none comes near.

    The hidden width is a multiple of 64 with heads of 64, the inner width 8/3 of it. For every hidden width the
    number of layers that comes nearest to the count is taken; of those within a tenth of it, the one whose width
    is nearest to 32 per layer. Embeddings are tied.
    """
    shapes = []
    for hidden in range(_HEAD, max(_HEAD, parameters // vocabulary) + 1, _HEAD):
        inner = _HEAD * max(1, round(8 * hidden / 3 / _HEAD))
        layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden
        rest = vocabulary * hidden + hidden
        layers = max(1, round((parameters - rest) / layer))
        shapes.append(Shape(hidden, inner, layers, rest + layers * layer))
    near = [shape for shape in shapes if abs(shape.parameters - parameters) <= _TOLERANCE * parameters]
    if not near:
        raise RecipeError(
            f"no llama of {parameters:,} parameters has a vocabulary of {vocabulary:,}",
            where=_WHERE,
            next_step=f"ask for at least {shapes[0].parameters:,}, or take a base with a smaller vocabulary",
        )
    return min(near, key=lambda shape: abs(math.log(shape.hidden / shape.layers / _WIDTH_PER_LAYER)))


def _llama_config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    heads = shape.hidden // _HEAD
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
