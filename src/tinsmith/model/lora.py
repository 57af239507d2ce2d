"""Low-rank adapters (LoRA, Hu et al. 2021): trained beside frozen weights, then merged into them exactly."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from peft.tuners.lora import Linear as PeftLinear
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tinsmith.base.errors import RecipeError, TrainingError
from tinsmith.model.blocks import blocks_of
from tinsmith.model.lowered import autocast_dtype, lowered
from tinsmith.model.packed import PackedProducts, packed
from tinsmith.recipe import LoraConfig

_NAME = "default"
# Merging changes only the order of sums: measured up to 2e-6 of the largest logit, and 1e-2 for a wrong merge.
_MERGE_TOLERANCE = 5e-5


def add(model: PreTrainedModel, config: LoraConfig, *, seed: int) -> None:
    """Freeze a model and add adapters to its linear layers, in place. They change nothing until trained.

    The model keeps its class. The same seed gives the same adapters. Raises RecipeError for a target that names no
    linear layer within the blocks.
    """
    targets = _targets(model, config.targets)
    plan = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type] # peft declares an int and takes a float
        lora_dropout=config.dropout,
        target_modules=targets,
    )
    plan._register_custom_module({nn.Linear: _Adapted, Conv1D: _Adapted})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(plan, model, _NAME)


@torch.no_grad()
def merge(model: PreTrainedModel, sample: Tensor) -> float:
    """Merge the adapters into the weights, in place, and unfreeze the plain model that is left.

    Returns the largest difference between the logits of `sample` (1, T) before and after, as a fraction of the
    largest logit. Raises TrainingError where it exceeds the rounding of float32.
    """
    model.eval()
    sample = sample.to(model.device)
    before = model(input_ids=sample, use_cache=False).logits
    for name, module in list(model.named_modules()):
        if isinstance(module, _Adapted):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)
    after = model(input_ids=sample, use_cache=False).logits
    difference = float((after - before).abs().max() / before.abs().max())
    if not difference <= _MERGE_TOLERANCE:
        raise TrainingError(
            f"merging the adapters changes logits by {difference:.1e} of the largest one",
            where="train.lora",
            next_step="lower train.learning_rate: adapters as large as the weights cannot be merged exactly",
        )
    return difference


def _targets(model: PreTrainedModel, wanted: tuple[str, ...]) -> list[str]:
    """Return the full names of the linear layers within the blocks that have one of the wanted last names."""
    prefix, blocks = blocks_of(model)
    linear = {
        f"{prefix}.{name}": name.rpartition(".")[2]
        for name, module in blocks.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }
    if missing := set(wanted) - set(linear.values()):
        raise RecipeError(
            f"no linear layer within the blocks is called {', '.join(sorted(missing))}",
            where="train.lora.targets",
            next_step=f"use some of {', '.join(sorted(set(linear.values())))}, or leave it empty for all",
        )
    return [name for name, last in linear.items() if not wanted or last in wanted]


class _Adapted(PeftLinear):
    """peft's linear layer with an adapter, but with a faster forward and backward pass.

    peft's own reads and writes a layer's output three times (product, scaling, sum), casts its input twice under
    autocast, and casts the frozen weights, which never change, in every pass.
    """

    def __init__(self, base_layer: nn.Module, adapter_name: str, **options: Any) -> None:
        super().__init__(base_layer, adapter_name, **options)
        self.fan_in_fan_out = isinstance(base_layer, Conv1D)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return x W' + b + scaling x A' B', in the precision of the active autocast."""
        if self.training and not isinstance(self.lora_dropout[_NAME], nn.Identity):
            return super().forward(x, *args, **kwargs)
        dtype = autocast_dtype(x.device.type) or x.dtype
        a, b = self.lora_A[_NAME].weight, self.lora_B[_NAME].weight
        frozen = self.base_layer.weight
        weight = packed(frozen, dtype) or (lowered(frozen).T if self.fan_in_fan_out else lowered(frozen))
        result: Tensor = _LowRank.apply(x, weight, self.base_layer.bias, a, b, self.scaling[_NAME], dtype)
        return result


class _LowRank(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | PackedProducts,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scaling: float,
        dtype: Any,
    ) -> Tensor:
        ctx.scaling, ctx.shape, ctx.dtype = scaling, x.shape, x.dtype
        rows = x.reshape(-1, x.shape[-1]).to(dtype)
        a, b = a.to(dtype), b.to(dtype)
        low, bias = rows @ a.T, None if bias is None else bias.to(dtype)
        ctx.products = weight if isinstance(weight, PackedProducts) else None
        if isinstance(weight, PackedProducts):
            result = weight.forward(rows, bias)
            ctx.save_for_backward(rows, a, b, low)
        else:
            result = nn.functional.linear(rows, weight, bias)
            ctx.save_for_backward(rows, a, b, low, weight)
        result.addmm_(low, b.T, alpha=scaling)
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        rows, a, b, low, *weight = ctx.saved_tensors
        slope = upstream[0].reshape(-1, upstream[0].shape[-1])
        inner = (slope @ b).mul_(ctx.scaling)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = slope @ weight[0] if weight else ctx.products.backward(slope)
            of_x = of_x.addmm_(inner, a).view(ctx.shape).to(ctx.dtype)
        of_a, of_b = inner.T @ rows, (slope.T @ low).mul_(ctx.scaling)
        return of_x, None, None, of_a, of_b, None, None


def packable_weights(model: PreTrainedModel) -> list[Tensor]:
    """Return the weights (out, in) that adapters lie beside, and those of the output layer where it is frozen."""
    adapted = [
        module for module in model.modules() if isinstance(module, _Adapted) and not module.fan_in_fan_out
    ]
    weights: list[Tensor] = [module.base_layer.weight for module in adapted]
    output = model.get_output_embeddings()
    if output is not None and not output.weight.requires_grad:
        weights.append(output.weight)
    return weights
