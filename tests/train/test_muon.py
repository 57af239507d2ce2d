from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import tinsmith.train.muon as muon_module
from tinsmith.train.muon import Muon, orthogonalise

SHAPES = [(24, 40), (40, 24), (24, 40), (16, 16), (24, 24)]
RATE, DECAY, MOMENTUM = 3e-3, 0.1, 0.95


class Reference:
    """Muon of one matrix in float64, written from the publications and from nothing else."""

    def __init__(self, weight: np.ndarray) -> None:
        self.weight, self.mean = weight.astype(np.float64), np.zeros(weight.shape)

    def step(self, gradient: np.ndarray) -> None:
        self.mean = MOMENTUM * self.mean + (1 - MOMENTUM) * gradient
        x = (1 - MOMENTUM) * gradient + MOMENTUM * self.mean
        x = x / np.sqrt((x**2).sum())
        for _ in range(5):
            left = x @ x.T
            x = 3.4445 * x - 4.7750 * left @ x + 2.0315 * left @ left @ x
        rows, columns = x.shape
        self.weight -= RATE * DECAY * self.weight
        self.weight -= RATE * 0.2 * np.sqrt(max(rows, columns)) * x


def matrices() -> list[torch.nn.Parameter]:
    torch.manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def gradients(step: int) -> list[torch.Tensor]:
    torch.manual_seed(100 + step)
    return [torch.randn(shape) * 10.0**-step for shape in SHAPES]


@pytest.mark.parametrize("at_once", [1, 2000, 1 << 24])
def test_steps_are_those_of_a_float64_reference(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(muon_module, "_STACKED", at_once)
    ours = matrices()
    references = [Reference(each.detach().numpy()) for each in ours]
    optimizer = Muon(ours, lr=RATE, weight_decay=DECAY)
    for step in range(4):
        for matrix, reference, gradient in zip(ours, references, gradients(step), strict=True):
            matrix.grad = gradient
            reference.step(gradient.double().numpy())
        optimizer.step()
        for matrix, reference in zip(ours, references, strict=True):
            np.testing.assert_allclose(matrix.detach().numpy(), reference.weight, rtol=0, atol=3e-6)


def test_steps_are_those_of_torch_within_bfloat16() -> None:
    ours, theirs = matrices(), matrices()
    one = Muon(ours, lr=RATE, weight_decay=DECAY)
    other = torch.optim.Muon(theirs, lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for parameters, optimizer in ((ours, one), (theirs, other)):
            for parameter, gradient in zip(parameters, gradients(step), strict=True):
                parameter.grad = gradient
            optimizer.step()
    for a, b, start in zip(ours, theirs, matrices(), strict=True):
        moved, distance = (a - start).detach().norm(), (a - b).detach().norm()
        assert float(distance / moved) < 0.05


def test_singular_values_come_near_one_and_zeros_stay_finite() -> None:
    torch.manual_seed(0)
    stack = torch.stack([torch.randn(30, 50), torch.randn(30, 50) * 1e-6, torch.zeros(30, 50)])
    values = torch.linalg.svdvals(orthogonalise(stack))
    assert float(values[:2].min()) > 0.5
    assert float(values[:2].max()) < 1.3
    assert torch.equal(values[2], torch.zeros(30))


def test_matrices_of_one_shape_go_through_in_one_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    whole = muon_module.orthogonalise
    monkeypatch.setattr(
        muon_module, "orthogonalise", lambda stack: seen.append(tuple(stack.shape)) or whole(stack)
    )
    ours = matrices()
    for parameter, gradient in zip(ours, gradients(0), strict=True):
        parameter.grad = gradient
    ours[3].grad = None  # what has no gradient stays where it is
    before = ours[3].detach().clone()
    Muon(ours, lr=RATE, weight_decay=DECAY).step()
    assert seen == [(3, 24, 40), (1, 24, 24)]
    assert torch.equal(ours[3].detach(), before)


def test_sharded_matrices_take_the_same_steps() -> None:
    plain, sharded = matrices(), matrices()
    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    try:
        mesh = init_device_mesh("cpu", (1,))
        sharded = [torch.nn.Parameter(distribute_tensor(each.detach(), mesh, [Shard(0)])) for each in sharded]
        one, other = (Muon(each, lr=RATE, weight_decay=DECAY) for each in (plain, sharded))
        for step in range(2):
            for a, b, gradient in zip(plain, sharded, gradients(step), strict=True):
                a.grad, b.grad = gradient, distribute_tensor(gradient.clone(), mesh, [Shard(0)])
            one.step()
            other.step()
        assert all(torch.equal(a, b.detach().full_tensor()) for a, b in zip(plain, sharded, strict=True))
    finally:
        distributed.destroy_process_group()
