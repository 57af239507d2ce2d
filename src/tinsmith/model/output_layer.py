"""The layer that turns hidden states into logits, and a check that it is a plain product."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel


def output_layer(model: PreTrainedModel) -> tuple[Tensor, Tensor | None]:
    """Return the weights (V, H) that turn hidden states into logits, and the bias (V,) if the family has one."""
    head = model.get_output_embeddings()
    return head.weight, getattr(head, "bias", None)


@torch.no_grad()
def output_layer_error(model: PreTrainedModel, inputs: Mapping[str, Any], softcap: float = 0.0) -> float:
    """Return by how much a model's logits differ from its hidden states times its output weights, at most.

    `inputs` are the arguments of one forward pass over a row of tokens; `softcap` is applied to the product where
    the caller does so. The unit is a logit, or a fraction of it for logits above 1; inf without an output layer.
    """
    if model.get_output_embeddings() is None:
        return math.inf
    trained = model.training
    model.eval()  # two forward passes are compared, and dropout would differ between them
    try:
        logits = model(**inputs).logits[0].float()
        plain = linear(model.base_model(**inputs).last_hidden_state[0], *output_layer(model)).float()
    finally:
        model.train(trained)
    if softcap:
        plain = torch.tanh(plain / softcap) * softcap
    return float(((logits - plain).abs() / (1 + plain.abs())).max())
