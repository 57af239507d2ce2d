"""Causal attention on CPUs: plain matrix products over blocks of queries, each with the keys that it may see.

PyTorch's kernel takes a fifth of a training step of SmolLM2-135M at 512 tokens, and this about half of that: 16 against
29 ms a layer and sequence, forward and backward, on two cores with AVX2 (docs/LOG.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_QUERIES = 128  # in a block; smaller blocks make small products, larger ones compute more that is masked
LONGEST = 1024  # tokens; the probabilities kept for the backward pass grow with the square of the length


def blocked_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attend causally with query (1, heads, T, D) to key and value (1, groups, T, D). Returns (1, heads, T, D).

    Heads are ordered by group, as in grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245).
    """
    output: Tensor = _BlockedAttention.apply(query, key, value, scale)
    return output


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        _, heads, length, size = query.shape
        groups = key.shape[1]
        # (groups, heads of a group, T, D): one product for all heads of a group.
        queries = (query[0] * scale).reshape(groups, -1, length, size)
        keys, values = key[0].contiguous(), value[0].contiguous()
        output = query.new_empty(length, groups, heads // groups, size)
        kept = []
        for start, end in _blocks(length):
            scores = torch.bmm(_rows(queries, start, end), keys[:, :end].mT)
            later = torch.ones(end - start, end - start, dtype=torch.bool).triu_(1)
            scores.view(groups, -1, end - start, end)[..., start:].masked_fill_(later, -torch.inf)
            weights = torch.softmax(scores, dim=-1)
            kept.append(weights)
            mixed = torch.bmm(weights, values[:, :end])
            output[start:end] = mixed.view(groups, -1, end - start, size).permute(2, 0, 1, 3)
        ctx.save_for_backward(queries, keys, values, *kept)
        ctx.scale = scale
        return output.view(length, heads, size).transpose(0, 1)[None]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, values, *kept = ctx.saved_tensors
        slope = upstream[0][0].reshape(queries.shape)
        of_queries = torch.empty_like(queries)
        of_keys, of_values = torch.zeros_like(keys), torch.zeros_like(values)
        for (start, end), weights in zip(_blocks(queries.shape[2]), kept, strict=True):
            rows = _rows(slope, start, end)
            of_values[:, :end].baddbmm_(weights.mT, rows)
            of_weights = torch.bmm(rows, values[:, :end].mT)
            of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_queries[:, :, start:end] = torch.bmm(of_scores, keys[:, :end]).view_as(slope[:, :, start:end])
            of_keys[:, :end].baddbmm_(of_scores.mT, _rows(queries, start, end))
        return of_queries.mul_(ctx.scale).flatten(0, 1)[None], of_keys[None], of_values[None], None


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + _QUERIES, length)) for start in range(0, length, _QUERIES)]


def _rows(states: Tensor, start: int, end: int) -> Tensor:
    """Return the rows of some positions (groups, heads of a group x positions, D)."""
    return states[:, :, start:end].flatten(1, 2)
