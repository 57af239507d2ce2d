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
        _, heads, length, _ = query.shape
        groups, before = key.shape[1], key.shape[2] - length
        each = heads // groups
        # (groups, T x heads of a group, D): the rows of a block of positions lie end to end, for one product.
        queries = _by_position(query * scale, groups)
        keys, values = key[0].contiguous(), value[0].contiguous()
        output = torch.empty_like(queries)
        hidden = torch.ones(_QUERIES, _QUERIES, dtype=torch.bool).triu_(1).repeat_interleave(each, dim=0)
        kept = []
        for start, end in _blocks(length):
            rows, seen, own = slice(start * each, end * each), before + end, end - start
            scores = torch.bmm(queries[:, rows], keys[:, :seen].mT)
            scores[:, :, before + start :].masked_fill_(hidden[: own * each, :own], -torch.inf)
            # In bfloat16 too, torch computes it in float32 and rounds the result.
            weights = torch.softmax(scores, dim=-1)
            kept.append(weights)
            torch.bmm(weights, values[:, :seen], out=output[:, rows])
        ctx.save_for_backward(queries, keys, values, *kept)
        ctx.scale, ctx.before, ctx.each = scale, before, each
        return _by_head(output, each)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, values, *kept = ctx.saved_tensors
        each, slope = ctx.each, _by_position(upstream[0], len(keys))
        of_queries = torch.empty_like(queries)
        of_keys, of_values = torch.zeros_like(keys), torch.zeros_like(values)
        for (start, end), weights in zip(_blocks(queries.shape[1] // each), kept, strict=True):
            rows, seen = slice(start * each, end * each), ctx.before + end
            of_values[:, :seen].baddbmm_(weights.mT, slope[:, rows])
            of_weights = torch.bmm(slope[:, rows], values[:, :seen].mT)
            of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            torch.bmm(of_scores, keys[:, :seen], out=of_queries[:, rows])
            of_keys[:, :seen].baddbmm_(of_scores.mT, queries[:, rows])
        return _by_head(of_queries.mul_(ctx.scale), each), of_keys[None], of_values[None], None


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + _QUERIES, length)) for start in range(0, length, _QUERIES)]


def _by_position(states: Tensor, groups: int) -> Tensor:
    """Return (1, heads, T, D) as (groups, T x heads of a group, D), with the heads of a position side by side."""
    return states[0].unflatten(0, (groups, -1)).transpose(1, 2).flatten(1, 2)


def _by_head(states: Tensor, each: int) -> Tensor:
    """Return (groups, T x heads of a group, D) as (1, heads, T, D)."""
    return states.unflatten(1, (-1, each)).transpose(1, 2).flatten(0, 1)[None]
