"""References for objectives: plain float64 over whole logits, one document at a time, by autograd."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from small_models import tiny_model
from tinsmith.tokens.batches import Batch
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.objectives import Objective
from tiny_training import VOCABULARY, tiny_llama

Gradients = list[Tensor]


def sharp_llama(seed: int, *, bias: bool = False) -> PreTrainedModel:
    """Make a llama in evaluation mode whose distributions are far from uniform; its output layer may have a bias."""
    model = tiny_llama(seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights.normal_(0, 0.15, generator=generator)
        if bias:
            model.lm_head.bias = torch.nn.Parameter(torch.randn(360, generator=generator))
    return model


def sharp_gemma2(seed: int, *, size: int = VOCABULARY) -> PreTrainedModel:
    """Make a gemma2 in evaluation mode whose scores and logits would go far beyond their caps."""
    return tiny_model("gemma2", size=size, seed=seed)


def plain_logits(model: PreTrainedModel, documents: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return the logits (T, V) of each document, alone in its forward pass."""
    return [model(input_ids=torch.tensor([list(ids)])).logits[0] for ids in documents]


def as_double(model: PreTrainedModel) -> PreTrainedModel:
    """Return a float64 copy with the attention of transformers."""
    double = copy.deepcopy(model).double()
    double.set_attn_implementation("eager")
    return double


def gradients_of(loss: Tensor, model: PreTrainedModel) -> Gradients:
    """Return the gradients of a model's parameters."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return list(torch.autograd.grad(loss, wanted))


def ours(
    objective: Objective, model: PreTrainedModel, batch: Batch
) -> tuple[float, Gradients, dict[str, float]]:
    """Return the loss, gradients and figures that training computes."""
    isolate_sequences(model)
    loss, figures = objective.loss(model, batch)
    return float(loss.detach()), gradients_of(loss, model), figures


def assert_same(got: tuple[float, Gradients], plain: Tensor, model: PreTrainedModel) -> None:
    """Compare loss and gradients with those of a float64 loss over a float64 model."""
    loss, gradients = got
    expected = float(plain.detach())
    assert abs(loss - expected) <= 2e-5 * max(1.0, abs(expected)), (loss, expected)
    for mine, theirs in zip(gradients, gradients_of(plain, model), strict=True):
        size = float(theirs.abs().max())
        assert size > 0
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=2e-5 * size)
