"""The layer that turns hidden states into logits, their cap included, and a check that it is nothing more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel


class OutputLayer(NamedTuple):
    """Weights (V, H), a bias (V,) where the family has one, and the cap of its logits: gemma2's 30, 0 for none."""

    weight: Tensor
    bias: Tensor | None = None
    softcap: float = 0.0

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (..., V) of hidden states (..., H), in float32; products have the weights' precision."""
        products = torch.nn.functional.linear(hidden.to(self.weight.dtype), self.weight, self.bias)
        return cap(products.float(), self.softcap)

    def rows(self, chosen: slice | Tensor | list[int]) -> OutputLayer:
        """Return the layer of some tokens alone."""
        return self._replace(
            weight=self.weight[chosen], bias=None if self.bias is None else self.bias[chosen]
        )

    def float(self) -> OutputLayer:
        """Return the layer in float32."""
        return self._replace(
            weight=self.weight.float(), bias=None if self.bias is None else self.bias.float()
        )


def output_layer(model: PreTrainedModel) -> OutputLayer:
    """Return the output layer of a model that has one."""
    head = model.get_output_embeddings()
    softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return OutputLayer(head.weight, getattr(head, "bias", None), float(softcap or 0.0))


def cap(logits: Tensor, softcap: float) -> Tensor:
    """Return softcap * tanh(logits / softcap), which stays within the cap; the logits themselves where it is 0."""
    return torch.tanh(logits / softcap) * softcap if softcap else logits


def slope_of_cap(capped: Tensor, softcap: float) -> Tensor:
    """Return the derivative of `cap` at each logit, from what it gave there; the cap is not 0."""
    return 1 - (capped / softcap).square_()


@torch.no_grad()
def output_layer_error(model: PreTrainedModel, inputs: Mapping[str, Any]) -> float:
    """Return by how much a model's logits differ from what its output layer gives of its hidden states, at most.

    `inputs` are the arguments of one forward pass over a row of tokens. The unit is a logit, or a fraction of it for
    logits above 1; inf without an output layer.
    """
    if model.get_output_embeddings() is None:
        return math.inf
    trained = model.training
    model.eval()  # two forward passes are compared, and dropout would differ between them
    try:
        logits = model(**inputs).logits[0].float()
        plain = output_layer(model).logits(model.base_model(**inputs).last_hidden_state[0])
    finally:
        model.train(trained)
    return float(((logits - plain).abs() / (1 + plain.abs())).max())
