"""Weights in the precision that autocast multiplies in, converted once for each time that they change."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

# Weights on a CPU as autocast converts them, with the version that was converted.
_LOWERED: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def autocast_dtype(device: str) -> torch.dtype | None:
    """Return the precision of the active autocast on a device type, or None outside of it."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def lowered(weight: Tensor) -> Tensor:
    """Return weights as autocast converts them for a product, without their gradient; on a CPU once for each change.

    Autocast itself converts them again for each product: 57 MB twice a micro-batch with SmolLM2-135M, which took a
    fifth of a step on answers of several tokens.
    """
    dtype = product_dtype(weight)
    if weight.dtype == dtype:
        return weight
    if weight.device.type != "cpu":
        return weight.detach().to(dtype)
    kept = _LOWERED.get(weight)
    if kept is None or kept[0] != weight._version or kept[1].dtype != dtype:
        kept = _LOWERED[weight] = (weight._version, weight.detach().to(dtype))
    copy: Tensor = kept[1]
    return copy


def product_dtype(weight: Tensor) -> torch.dtype:
    """Return the precision of a product with these weights: that of an active autocast, or their own."""
    lower = autocast_dtype(weight.device.type)
    return weight.dtype if lower is None or weight.dtype != torch.float32 else lower
