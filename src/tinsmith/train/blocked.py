"""Causal attention on CPUs: plain matrix products over blocks of queries, each with the keys that it may see.

PyTorch's kernel takes a fifth of a training step of SmolLM2-135M at 512 tokens, and this half of that or less: 16
against 29 ms a layer and sequence, forward and backward, in float32 on two cores with AVX2, and 4 against 12 ms in
bfloat16 with AVX512-BF16 (docs/LOG.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_QUERIES = 128  # in a block; smaller blocks make small products, larger ones compute more that is masked
LONGEST = 1024  # tokens; the probabilities kept for the backward pass grow with the square of the length


def blocked_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attend causally with query (1, heads, T, D) to key and value (1, groups, K, D). Returns (1, heads, T, D).

    The queries are the last T of the K tokens. Heads are ordered by group, as in grouped-query attention (Ainslie et
    al. 2023, arXiv:2305.13245). Under autocast the products are in bfloat16, the softmax in float32.
    """
    if torch.is_autocast_enabled("cpu"):
        lowered = torch.get_autocast_dtype("cpu")
        query, key, value = (states.to(lowered) for states in (query, key, value))
    with torch.autocast("cpu", enabled=False):
        output: Tensor = _BlockedAttention.apply(query, key, value, scale)
    return output


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        _, heads, length, size = query.shape
        groups, before = key.shape[1], key.shape[2] - length
        # (groups, heads of a group, T, D): one product for all heads of a group.
        queries = (query[0] * scale).reshape(groups, -1, length, size)
        keys, values = key[0].contiguous(), value[0].contiguous()
        output = query.new_empty(length, groups, heads // groups, size)
        kept = []
        for start, end in _blocks(length):
            seen = before + end
            scores = torch.bmm(_rows(queries, start, end), keys[:, :seen].mT)
            later = torch.ones(end - start, end - start, dtype=torch.bool).triu_(1)
            scores.view(groups, -1, end - start, seen)[..., before + start :].masked_fill_(later, -torch.inf)
            weights = torch.softmax(scores, dim=-1, dtype=_exact(scores.dtype)).to(scores.dtype)
            kept.append(weights)
            mixed = torch.bmm(weights, values[:, :seen])
            output[start:end] = mixed.view(groups, -1, end - start, size).permute(2, 0, 1, 3)
        ctx.save_for_backward(queries, keys, values, *kept)
        ctx.scale, ctx.before = scale, before
        return output.view(length, heads, size).transpose(0, 1)[None]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, values, *kept = ctx.saved_tensors
        slope = upstream[0][0].reshape(queries.shape)
        of_queries = torch.empty_like(queries)
        of_keys, of_values = torch.zeros_like(keys), torch.zeros_like(values)
        for (start, end), weights in zip(_blocks(queries.shape[2]), kept, strict=True):
            rows, seen = _rows(slope, start, end), ctx.before + end
            of_values[:, :seen].baddbmm_(weights.mT, rows)
            of_weights = torch.bmm(rows, values[:, :seen].mT)
            exact = _exact(weights.dtype)
            of_scores = torch.ops.aten._softmax_backward_data(
                of_weights.to(exact), weights.to(exact), -1, exact
            ).to(weights.dtype)
            of_queries[:, :, start:end] = torch.bmm(of_scores, keys[:, :seen]).view_as(slope[:, :, start:end])
            of_keys[:, :seen].baddbmm_(of_scores.mT, _rows(queries, start, end))
        return of_queries.mul_(ctx.scale).flatten(0, 1)[None], of_keys[None], of_values[None], None


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype is torch.bfloat16 else dtype


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + _QUERIES, length)) for start in range(0, length, _QUERIES)]


def _rows(states: Tensor, start: int, end: int) -> Tensor:
    """Return the rows of some positions (groups, heads of a group x positions, D)."""
    return states[:, :, start:end].flatten(1, 2)
