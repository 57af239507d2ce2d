"""Teachers of other families: packed or one by one, each reads every sequence as its own code would read it alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    PreTrainedModel,
)

from small_models import tiny_model
from tinsmith.base.errors import TrainingError
from tinsmith.tokens.batches import Batch, make_batch
from tinsmith.train.attention import NAME, last_hidden
from tinsmith.train.teachers import check_teacher
from tiny_training import tiny_llama

SHAPE = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def convolving() -> PreTrainedModel:
    """Make a model whose first layer mixes neighbours in a row, whatever sequence they belong to."""
    return Lfm2ForCausalLM(Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"]))


def with_sinks() -> PreTrainedModel:
    """Make a model whose attention divides by more than the keys that it sees."""
    shape = {**SHAPE, "head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 512}
    model = GptOssForCausalLM(GptOssConfig(**shape, attn_implementation="eager"))
    for layer in model.model.layers:
        torch.nn.init.constant_(layer.self_attn.sinks, 3.0)
    return model


def capping() -> PreTrainedModel:
    """Make a model that caps its scores of attention and its logits."""
    return tiny_model("gemma2", size=90)


def sequence(seed: int, length: int = 12) -> tuple[np.ndarray, np.ndarray]:
    ids = np.random.default_rng(seed).integers(3, 90, length).astype(np.uint32)
    return ids, np.ones(length, np.uint8)


@pytest.mark.parametrize(
    ("make", "packs"),
    [(tiny_llama, True), (convolving, False), (with_sinks, False), (capping, False)],
    ids=["packed", "convolving", "with sinks", "capping"],
)
def test_each_sequence_is_read_as_if_alone(make, packs: bool) -> None:
    torch.manual_seed(0)
    model = make().eval()
    pair: Batch = make_batch([sequence(1), sequence(2)])
    with torch.no_grad():
        alone = [model.base_model(input_ids=ids).last_hidden_state for ids in pair.ids.split(12, dim=1)]
        check_teacher(model, make_batch([sequence(3)]))
        read = last_hidden(model, pair)
    assert (model.config._attn_implementation == NAME) == packs
    assert torch.allclose(read, torch.cat(alone, dim=1), atol=1e-5)


def test_a_teacher_that_scales_its_logits_is_refused_in_words() -> None:
    torch.manual_seed(0)
    model = GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=4.0)).eval()
    with pytest.raises(TrainingError, match="granite scales or shifts its logits"):
        check_teacher(model, make_batch([sequence(3)]))
