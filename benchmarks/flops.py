"""How many floating-point operations a token of training costs."""

from __future__ import annotations

from typing import Any


def train_flops_per_token(config: dict[str, Any], *, length: int, lora_rank: int = 0) -> float:
    """Return the FLOPs of training a llama-like model on one token of a sequence of `length`.

    Matrix products only, 2 FLOPs for a multiplication with its addition. With N the weights that multiply (the
    output layer included, the embedding's look-up not), forward costs 2 N, backward 4 N: half of it for the
    activations, half for the weights. Causal attention adds 2 T width a layer forward (each token meets T / 2
    others, twice) and twice that backward. With LoRA the frozen weights have no gradient of their own: 4 N, and 6
    for each adapter weight. Normalisation, softmax and optimiser are left out.
    """
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    shapes = [(width, queries), (width, keys), (width, keys), (queries, width)]
    shapes += [(width, inner), (width, inner), (inner, width)]
    blocks = layers * sum(inputs * outputs for inputs, outputs in shapes)
    adapters = layers * lora_rank * sum(inputs + outputs for inputs, outputs in shapes)
    weights = blocks + width * config["vocab_size"]
    attention = 3 * layers * 2 * length * queries
    return float((4 * weights + 6 * adapters if lora_rank else 6 * weights) + attention)
