"""Tiny random models and a tokenizer over bytes, for the tests of this room."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

_COMMON = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "llama": lambda size: LlamaConfig(
        vocab_size=size, num_key_value_heads=2, max_position_embeddings=2048, **_COMMON
    ),
    "gemma2": lambda size: Gemma2Config(
        vocab_size=size,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=5.0,
        **_COMMON,
    ),
    "gemma3": lambda size: Gemma3TextConfig(
        vocab_size=size,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=8,
        final_logit_softcapping=30.0,
        layer_types=["sliding_attention", "full_attention"],
        **_COMMON,
    ),
    "qwen3": lambda size: Qwen3Config(vocab_size=size, num_key_value_heads=2, head_dim=16, **_COMMON),
    "gpt2": lambda size: GPT2Config(vocab_size=size, n_embd=64, n_layer=2, n_head=4),
    "bloom": lambda size: BloomConfig(vocab_size=size, hidden_size=64, n_layer=2, n_head=4),
}


def tiny_model(family: str = "llama", *, size: int = 300, seed: int = 0):
    """Make a random model whose distributions are far from uniform."""
    torch.manual_seed(seed)
    # The library's default code drops the cap of gemma2's scores.
    code = {"attn_implementation": "eager"} if family == "gemma2" else {}
    model = AutoModelForCausalLM.from_config(CONFIGS[family](size), dtype=torch.float32, **code).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(8.0)
        for name, weights in model.named_parameters():
            if "proj" in name or "attention" in name or "mlp" in name:
                weights.mul_(4.0)
    return model


def byte_tokenizer(*, bos: bool = False) -> PreTrainedTokenizerFast:
    """Make a tokenizer with a token per byte and a few merges; ids 256 and 257 are end and begin of text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    vocabulary |= {"<eos>": 256, "<bos>": 257, "th": 258, "the": 259, "Ġthe": 260}
    backend = Tokenizer(BPE(vocabulary, [("t", "h"), ("th", "e"), ("Ġ", "the")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 257)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<eos>", bos_token="<bos>", clean_up_tokenization_spaces=False
    )


def plain_log_probs(model, tokens: list[int]) -> list[float]:
    """Return ln p of tokens 1.. with the whole softmax in float64: what everything is held against."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([tokens])).logits[0].double()
    return logits.log_softmax(-1)[range(len(tokens) - 1), tokens[1:]].tolist()
