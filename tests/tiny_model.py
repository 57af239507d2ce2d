"""Tiny models with a real byte-level vocabulary and a chat template, whose answers depend on all their parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import decoders, processors
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from small_vocabulary import TEXT, trained_bpe
from tinsmith.model.export import save_model
from tinsmith.model.families import FAMILIES, Shape

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = [
    f"{TEXT} Section {number}: the fee is {number * 7} per year, “payable” in May.\n" for number in range(20)
]


def tiny_tokenizer(*, adds_bos: bool = False, template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Return a vocabulary of 400 tokens; bos, eos, unk and pad are 1, 2, 0 and 2."""
    backend = trained_bpe()
    backend.decoder = decoders.ByteLevel()
    if adds_bos:
        start = "<|im_start|>"
        backend.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", pair=f"{start} $A {start} $B", special_tokens=[(start, 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def tiny_model(
    *, hidden: int = 64, layers: int = 2, tied: bool = True, base: float = 100.0
) -> LlamaForCausalLM:
    """Return random weights wide enough that positions, attention and each layer change the answer."""
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": base},
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    model = LlamaForCausalLM(config)
    spread = {"embed_tokens": 0.3, "lm_head": 0.3, "q_proj": 0.2, "k_proj": 0.2, "v_proj": 0.2, "o_proj": 0.2}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, next((s for key, s in spread.items() if key in name), 0.1))
    return model.eval()


def tiny_family(family: str) -> PreTrainedModel:
    """Return random weights of a family as Tinsmith creates it, but tiny: a width of 64, four heads, two layers.

    Norms and biases are random too, and a gemma3 has the six layers that it takes for one that sees everything.
    """
    sizes = FAMILIES[family]
    inner, keys = (192, 4 // sizes.queries_per_key) if sizes.gated else (256, 4)
    layers = 6 if family == "gemma3" else 2
    config = sizes.configure(Shape(hidden=64, inner=inner, layers=layers, head=16, keys=keys, parameters=0))
    config.vocab_size, config.bos_token_id, config.eos_token_id = 400, 1, 2
    if family == "gemma3":
        config.sliding_window = 16
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_config(config)
    wide = ("embed", "wte", "wpe", "lm_head")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.3 if any(key in name for key in wide) else 0.15)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def write_trained(path: Path, **tokenizer_options) -> Path:
    """Save the tiny model as training would: float32, with tokenizer and stop tokens."""
    save_model(tiny_model(), tiny_tokenizer(**tokenizer_options), path, "float32")
    return path


def changed_copy(source: Path, out: Path, file: str, **facts) -> Path:
    """Copy a model directory with some facts of one of its JSON files changed."""
    shutil.copytree(source, out)
    content = json.loads((out / file).read_text())
    (out / file).write_text(json.dumps({**content, **facts}))
    return out


def swapped_copy(source: Path, out: Path, first: str, second: str) -> Path:
    """Copy a model directory with two tensors in each other's place."""
    shutil.copytree(source, out)
    weights = load_file(source / "model.safetensors")
    weights[first], weights[second] = weights[second], weights[first]
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


def changed_tensor(source: Path, out: Path, name: str, change: Callable[[Tensor], Tensor]) -> Path:
    """Copy a model directory with one tensor changed."""
    shutil.copytree(source, out)
    weights = load_file(source / "model.safetensors")
    weights[name] = change(weights[name]).contiguous()
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out
