"""Muon: momentum whose matrices are orthogonalised before they move the weights.

torch.optim.Muon always iterates in bfloat16. Processors without bfloat16 instructions emulate it: the iteration then
takes about 17 times as long as in float32, and more than the rest of a step. It also goes matrix by matrix. The
mathematics here is the same, and a test compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

# Of x, x^3 and x^5: steepest at zero, so that five rounds bring singular values to between 0.7 and 1.2.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5
_TINY = 1e-7  # keeps a gradient of zeros from dividing by zero
_STACKED = 1 << 24  # numbers in one stack, 64 MiB: bounds the memory of the iteration


class Muon(Optimizer):
    """Momentum, orthogonalised (Keller Jordan, https://kellerjordan.github.io/posts/muon), for hidden matrices.

    Steps are scaled to the size of AdamW's, 0.2 of the rate, so that both share one rate and one decay
    (Liu et al., arXiv:2502.16982). Weight decay is decoupled, momentum is Nesterov's.
    """

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        """Take matrices (A, B)."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        assert all(matrix.ndim == 2 for group in self.param_groups for matrix in group["params"])

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move the weights by their gradients."""
        assert closure is None
        for group in self.param_groups:
            matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
            for same in _stacks(matrices):
                directions = [self._direction(matrix, group["momentum"]) for matrix in same]
                for matrix, step in zip(same, _orthogonal(directions), strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(_like(matrix, step), alpha=-0.2 * group["lr"] * max(matrix.shape) ** 0.5)

    def _direction(self, matrix: Tensor, momentum: float) -> Tensor:
        """Update the running mean of gradients and return it a step ahead, whole and wide (rows <= columns)."""
        state: dict[str, Any] = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad)
        mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        ahead = torch.lerp(matrix.grad, mean, momentum)
        # A shard has other singular values than its matrix, so each process gathers the matrix.
        whole = ahead.full_tensor() if isinstance(ahead, DTensor) else ahead
        return whole.T if _is_tall(matrix) else whole


def orthogonalise(stack: Tensor) -> Tensor:
    """Bring the singular values of matrices (N, A, B), A <= B, near 1 by five rounds of Newton-Schulz."""
    # Bfloat16 suffices for training and is fast on GPUs, but not on most CPUs.
    x = stack.to(torch.bfloat16 if stack.is_cuda else torch.float32)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_TINY)
    for _ in range(_ROUNDS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x


def _orthogonal(directions: list[Tensor]) -> Iterator[Tensor]:
    return iter(orthogonalise(torch.stack(directions)).to(directions[0].dtype))


def _stacks(matrices: list[Tensor]) -> list[list[Tensor]]:
    """Group matrices of one shape, tall ones with wide ones, at most `_STACKED` numbers a stack."""
    alike: dict[tuple[Any, ...], list[Tensor]] = defaultdict(list)
    for matrix in matrices:
        alike[tuple(sorted(matrix.shape)), matrix.dtype, matrix.device].append(matrix)
    size = {key: max(1, _STACKED // (key[0][0] * key[0][1])) for key in alike}
    return [same[at : at + size[key]] for key, same in alike.items() for at in range(0, len(same), size[key])]


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]


def _like(matrix: Tensor, step: Tensor) -> Tensor:
    """Transpose a step like its matrix, and keep this process's shard where the matrix is sharded."""
    oriented = step.T if _is_tall(matrix) else step
    if not isinstance(matrix, DTensor):
        return oriented
    # Each process has computed the same matrix, so nothing is sent.
    return distribute_tensor(oriented, matrix.device_mesh, matrix.placements, src_data_rank=None)
