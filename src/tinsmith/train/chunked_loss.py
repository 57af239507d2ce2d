"""Losses over the output layer that compute logits (S, V) one chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tinsmith.model.lowered import lowered, product_dtype
from tinsmith.model.output_layer import OutputLayer, cap, slope_of_cap
from tinsmith.model.packed import packed

# 64 MiB in float32. A loss such as a divergence holds several tensors of this size at once.
_LOGITS_AT_ONCE = 1 << 24
# Cross-entropy holds one. Half the size is a sixth slower, since the output weights are read more often.
_LOGITS_OF_CROSS_ENTROPY = 1 << 25
# Float32 values that a processor's caches hold while several operations pass over them.
_CACHED = 1 << 20

ChunkLoss = Callable[[Tensor, slice], Tensor]  # of logits (n, V) and the rows that they belong to


def chunked_loss(hidden: Tensor, output: OutputLayer, loss_of: ChunkLoss) -> Tensor:
    """Return the sum of loss_of(logits, rows) over chunks of the logits of hidden states (S, H), as a scalar.

    `loss_of` gets float32 logits (n, V) and the slice of rows that they belong to, and returns a scalar computed by
    differentiable operations. Each chunk's gradient is computed in the forward pass, and then its logits are freed.
    """
    loss: Tensor = _ChunkedLoss.apply(hidden, *output, loss_of)
    return loss


def chunked_cross_entropy(hidden: Tensor, output: OutputLayer, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy of labels (S,) under the logits of hidden states (S, H), a scalar.

    The same as `chunked_loss`, but faster: value and gradient share their exponentials.
    """
    loss: Tensor = _ChunkedCrossEntropy.apply(hidden, *output, labels)
    return loss


def chunked_log_probs(hidden: Tensor, output: OutputLayer, labels: Tensor) -> Tensor:
    """Return ln p (S,) of labels (S,) under the logits of hidden states (S, H).

    The backward pass recomputes the logits, since the factor of each token's gradient is known only then.
    """
    log_probs: Tensor = _ChunkedLogProbs.apply(hidden, *output, labels)
    return log_probs


class _GradientsInForward(torch.autograd.Function):
    """A sum whose forward pass leaves its gradients in `ctx.grads`; the backward pass scales them."""

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        # Released, so that autograd takes these tensors over instead of copying them.
        grads, ctx.grads = ctx.grads, None
        return *grads.scaled(upstream[0]), None, None


class _ChunkedLoss(_GradientsInForward):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, softcap: float, loss_of: ChunkLoss
    ) -> Tensor:
        grads = _Gradients(ctx.needs_input_grad[:3], hidden, weight, bias)
        total = hidden.new_zeros((), dtype=torch.float64)
        for rows, logits in _chunks(hidden, weight, bias):
            if not grads.needed:
                total += loss_of(cap(logits, softcap), rows)
                continue
            with torch.enable_grad():
                value = loss_of(cap(logits.requires_grad_(), softcap), rows)
            (slope,) = torch.autograd.grad(value, logits)
            total += value.detach()
            grads.add_bias(slope)
            grads.add(rows, slope)
        ctx.grads = grads
        return total.float()


class _ChunkedCrossEntropy(_GradientsInForward):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, softcap: float, labels: Tensor
    ) -> Tensor:
        grads = _Gradients(ctx.needs_input_grad[:3], hidden, weight, bias)
        total = hidden.new_zeros((), dtype=torch.float64)
        dtype = product_dtype(weight)
        products = packed(weight, dtype)
        for rows in logit_rows(len(hidden), len(weight), _LOGITS_OF_CROSS_ENTROPY):
            states = hidden[rows].to(dtype)
            logits = products.forward(states) if products else states @ lowered(weight).T
            # A GPU would rather launch few large kernels.
            most = _CACHED if logits.device.type == "cpu" else logits.numel()
            for piece in logit_rows(len(logits), len(weight), most):
                slope = logits[piece].float()
                if bias is not None:
                    slope += bias
                if softcap:
                    slope.copy_(cap(slope, softcap))
                of_cap = slope_of_cap(slope, softcap) if softcap and grads.needed else None
                targets = labels[rows][piece, None]
                slope -= slope.amax(dim=1, keepdim=True)
                own = slope.gather(1, targets)
                sums = slope.exp_().sum(dim=1, keepdim=True)
                total += (sums.log() - own).sum(dtype=torch.float64)
                if not grads.needed:
                    continue
                # One is subtracted before rounding: a probability near 1 would lose all that is left of it.
                slope.div_(sums).scatter_add_(1, targets, torch.full_like(own, -1))
                if of_cap is not None:
                    slope.mul_(of_cap)
                grads.add_bias(slope)
                if slope.dtype != logits.dtype:
                    logits[piece] = slope
            if grads.needed:
                grads.add(rows, logits)
        ctx.grads = grads
        return total.float()


class _ChunkedLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, softcap: float, labels: Tensor
    ) -> Tensor:
        log_probs = hidden.new_empty(len(hidden), dtype=torch.float32)
        log_sums = torch.empty_like(log_probs)
        for rows, plain in _chunks(hidden, weight, bias):
            logits = cap(plain, softcap)
            log_sums[rows] = logits.logsumexp(dim=1)
            log_probs[rows] = logits.gather(1, labels[rows, None])[:, 0] - log_sums[rows]
        ctx.save_for_backward(hidden, weight, bias, labels, log_sums)
        ctx.autocast, ctx.softcap = _autocast(hidden.device.type), softcap
        return log_probs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels, log_sums = ctx.saved_tensors
        grads = _Gradients(ctx.needs_input_grad[:3], hidden, weight, bias)
        # The logits must equal those of the forward pass to the bit, or these would not be probabilities.
        with torch.autocast(**ctx.autocast):
            for rows, plain in _chunks(hidden, weight, bias):
                logits = cap(plain, ctx.softcap)
                of_cap = slope_of_cap(logits, ctx.softcap) if ctx.softcap else None
                slope = logits.sub_(log_sums[rows, None]).exp_().neg_()
                slope.scatter_add_(1, labels[rows, None], torch.ones_like(slope[:, :1]))
                slope.mul_(upstream[0][rows, None])
                if of_cap is not None:
                    slope.mul_(of_cap)
                grads.add_bias(slope)
                grads.add(rows, slope)
        return *grads.tensors(), None, None


class _Gradients:
    """The gradients of hidden states, output weights and bias, accumulated from those of chunks of logits."""

    def __init__(self, needed: tuple[bool, ...], hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self._hidden, self._weight, self.needed = hidden, weight, any(needed)
        self._dtype = product_dtype(weight)
        self._of_hidden = torch.empty_like(hidden) if needed[0] else None
        self._of_weight = torch.empty_like(weight) if needed[1] else None
        self._began = False  # the first rows are written over what is in there
        self._of_bias = torch.zeros_like(bias) if bias is not None and needed[2] else None

    def add_bias(self, slope: Tensor) -> None:
        """Add the gradient (n, V) of some rows' logits to that of the bias."""
        if self._of_bias is not None:
            self._of_bias += slope.sum(dim=0)

    def add(self, rows: slice, slope: Tensor) -> None:
        """Add the gradient (n, V) of some rows' logits to those of hidden states and weights."""
        slope = slope.to(self._dtype)
        hidden = self._hidden[rows].to(slope.dtype)
        if self._of_hidden is not None:
            products = packed(self._weight, self._dtype)
            self._of_hidden[rows] = products.backward(slope) if products else slope @ lowered(self._weight)
        if self._of_weight is None:
            return
        began, self._began = self._began, True
        if slope.dtype == self._of_weight.dtype:
            torch.addmm(self._of_weight, slope.T, hidden, beta=float(began), out=self._of_weight)
            return
        # A sum in float32 of products in the lower precision; a block at a time, which a processor's caches hold.
        on_cpu = slope.device.type == "cpu"
        size = max(1, _CACHED // hidden.shape[1]) if on_cpu else len(self._of_weight)
        for start in range(0, len(self._of_weight), size):
            block, product = self._of_weight[start : start + size], slope[:, start : start + size].T @ hidden
            if began:
                block += product
            else:
                block.copy_(product)

    def scaled(self, factor: Tensor) -> list[Tensor | None]:
        """Return the three gradients times a scalar, computed in place since nothing else holds them."""
        return [grad.mul_(factor) if grad is not None else None for grad in self.tensors()]

    def tensors(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the three gradients, None where not needed."""
        if self._of_weight is not None and not self._began:
            self._of_weight.zero_()
        return self._of_hidden, self._of_weight, self._of_bias


def logit_rows(count: int, vocabulary: int, most: int | None = None) -> Iterator[slice]:
    """Divide `count` rows into chunks of at most `most` logits, by default those of one chunk."""
    size = max(1, (most or _LOGITS_AT_ONCE) // vocabulary)
    return (slice(start, start + size) for start in range(0, count, size))


def _chunks(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, most: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    product = lowered(weight)
    for rows in logit_rows(len(hidden), len(weight), most):
        logits = (hidden[rows] @ product.T).float()
        if bias is not None:
            logits += bias
        yield rows, logits


def _autocast(device: str) -> dict[str, Any]:
    """Return the arguments of the active autocast, which autograd does not restore in the backward pass."""
    return {
        "device_type": device,
        "dtype": torch.get_autocast_dtype(device),
        "enabled": torch.is_autocast_enabled(device),
    }
