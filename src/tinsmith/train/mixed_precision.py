"""Compute in bfloat16 beside float32 weights on a processor: fewer conversions than autocast makes.

Autocast converts a norm's output once for each layer that reads it, and every weight again in each micro-batch. Here a
norm writes bfloat16 at once, and a weight is converted once for each time it changes. The states that blocks add to,
weights, their gradients, norms, the loss and the optimiser stay in float32. All of it applies only under autocast, so
that float32 remains the plain model.

To keep the states between blocks in bfloat16 as well, as models on GPUs do, was no faster here and cost 0.03 nats after
28 steps of adapters on SmolLM2-135M.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinsmith.model.blocks import blocks_of
from tinsmith.model.lowered import autocast_dtype, lowered

_SAME = 1e-5  # a norm of another formula differs by far more on random states


def convert_once(model: PreTrainedModel) -> None:
    """Change a model's layers in place so that they compute as described above, wherever autocast lowers precision.

    Changed are root-mean-square norms of a block's states, where they compute what is expected of them, and linear
    layers within the blocks whose weights are trained. Other layers are left to autocast, as are norms of queries and
    keys, whose results would be rounded once more than there.
    """
    width = model.get_input_embeddings().weight.shape[1]
    for module in blocks_of(model)[1].modules():
        if type(module).__name__.endswith("RMSNorm") and (found := _formula(module, width)):
            module._offset, module._epsilon = found  # type: ignore[assignment]
            module.__class__ = _mixed(_Norm, type(module))  # type: ignore[arg-type]
        elif type(module) is nn.Linear and module.weight.requires_grad:
            module.__class__ = _mixed(_Linear, nn.Linear)  # type: ignore[arg-type]


def restore(model: PreTrainedModel) -> None:
    """Undo `convert_once`: a compiler fuses conversions itself, and would keep the first converted weights for ever."""
    for module in blocks_of(model)[1].modules():
        if isinstance(module, _Norm | _Linear):
            module.__class__ = type(module).__mro__[2]  # behind the two classes that `_mixed` joined


@functools.cache
def _mixed(first: type[nn.Module], second: type[nn.Module]) -> type[nn.Module]:
    """Return a class that computes as `first` does and is otherwise `second`: a copied model keeps it."""
    return type(second.__name__, (first, second), {})


@torch.no_grad()
def _formula(norm: nn.Module, width: int) -> tuple[float, float] | None:
    """Return what a norm over `width` adds to its weights, 0 or 1, and its epsilon; None for other formulas."""
    weight = getattr(norm, "weight", None)
    epsilon = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    if not isinstance(weight, nn.Parameter) or weight.shape != (width,) or epsilon is None:
        return None
    states = torch.randn(4, len(weight), generator=torch.Generator().manual_seed(0)).to(weight.device)
    plain = norm(states)
    for offset in (0.0, 1.0):
        ours = _RootMeanSquare.apply(states, weight + offset, epsilon, torch.float32)
        if plain.dtype == torch.float32 and torch.allclose(ours, plain, rtol=_SAME, atol=_SAME):
            return offset, float(epsilon)
    return None


class _Norm(nn.Module):
    """A root-mean-square norm that computes in float32 and writes the lower precision."""

    weight: nn.Parameter
    _offset: float
    _epsilon: float

    def forward(self, hidden_states: Tensor) -> Tensor:
        dtype = autocast_dtype(hidden_states.device.type)
        if dtype is None:
            plain: Tensor = super().forward(hidden_states)
            return plain
        scale = self.weight + self._offset if self._offset else self.weight
        states: Tensor = _RootMeanSquare.apply(hidden_states, scale, self._epsilon, dtype)
        return states


class _RootMeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, scale: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
        wide = states.float()
        inverse = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse.square_().div_(states.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(states, scale, inverse)
        return (wide * inverse).mul_(scale).to(dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        states, scale, inverse = ctx.saved_tensors
        normal, slope = states.float() * inverse, upstream[0].float()
        of_scale = None
        if ctx.needs_input_grad[1]:
            of_scale = (slope * normal).flatten(0, -2).sum(dim=0)
        slope = slope * scale
        inner = torch.linalg.vecdot(slope, normal)[..., None].div_(-states.shape[-1])
        return slope.addcmul_(normal, inner).mul_(inverse).to(states.dtype), of_scale, None, None


class _Linear(nn.Linear):
    """A linear layer whose weights are converted once for each change."""

    def forward(self, input: Tensor) -> Tensor:
        if autocast_dtype(input.device.type) is None:
            return super().forward(input)
        states: Tensor = _Product.apply(input, self.weight, self.bias)
        return states


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.shape, ctx.dtype = states.shape, states.dtype
        rounded = lowered(weight)
        rows = states.reshape(-1, states.shape[-1]).to(rounded.dtype)
        ctx.save_for_backward(rows, rounded)
        result = nn.functional.linear(rows, rounded, None if bias is None else bias.to(rounded.dtype))
        return result.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        rows, rounded = ctx.saved_tensors
        slope = upstream[0].reshape(-1, upstream[0].shape[-1])
        of_states = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_states = (slope @ rounded).view(ctx.shape).to(ctx.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = (slope.T @ rows).float()
        if ctx.needs_input_grad[2]:
            of_bias = slope.sum(dim=0, dtype=torch.float32)
        return of_states, of_weight, of_bias
