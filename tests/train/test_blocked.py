from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import tinsmith.train.attention as attention_module
from tinsmith.train.blocked import blocked_attention


def states(length: int, heads: int, groups: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [
        torch.randn(1, length, count, 16, generator=generator, dtype=dtype).transpose(1, 2).requires_grad_()
        for count in (heads, groups, groups)
    ]


@pytest.mark.parametrize(("heads", "groups"), [(6, 2), (4, 4), (3, 1)])
@pytest.mark.parametrize("length", [1, 5, 128, 300])
def test_values_and_gradients_are_those_of_plain_attention(length: int, heads: int, groups: int) -> None:
    found, wanted = states(length, heads, groups), states(length, heads, groups)
    slope = torch.randn(1, heads, length, 16, dtype=torch.float64)
    blocked = blocked_attention(*found, 0.3)
    plain = scaled_dot_product_attention(*wanted, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(blocked, plain, rtol=1e-10, atol=1e-12)
    blocked.backward(slope)
    plain.backward(slope)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-11)


def test_queries_may_be_the_last_of_more_tokens() -> None:
    query, key, value = states(300, 4, 2)
    _, prefix, before = states(170, 4, 2)
    keys, values = torch.cat([prefix, key], dim=2), torch.cat([before, value], dim=2)
    seen = torch.ones(300, 470, dtype=torch.bool).tril(170)
    plain = scaled_dot_product_attention(query, keys, values, seen, scale=0.3, enable_gqa=True)
    wanted = torch.autograd.grad(plain.sin().sum(), (query, prefix, key, before, value))
    blocked = blocked_attention(query, keys, values, 0.3)
    torch.testing.assert_close(blocked, plain, rtol=1e-10, atol=1e-12)
    found = torch.autograd.grad(blocked.sin().sum(), (query, prefix, key, before, value))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_bfloat16_differs_by_its_rounding_alone() -> None:
    exact, rounded = states(200, 6, 2, torch.float32), states(200, 6, 2, torch.float32)
    plain = blocked_attention(*exact, 0.3)
    plain.sin().sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = blocked_attention(*rounded, 0.3)
    assert lowered.dtype == torch.bfloat16
    lowered.float().sin().sum().backward()
    torch.testing.assert_close(lowered.float(), plain, rtol=0.02, atol=0.02)
    for one, other in zip(rounded, exact, strict=True):
        assert one.grad is not None
        assert float((one.grad - other.grad).norm() / other.grad.norm()) < 0.02


def test_it_serves_short_sequences_on_processors_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def told(query: torch.Tensor, *rest: object) -> torch.Tensor:
        calls.append(query.shape[2])
        return blocked_attention(query, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(attention_module, "blocked_attention", told)
    attend = attention_module._attend
    usual = {"scaling": None, "dropout": 0.0, "window": None}
    attend(*states(9, 4, 2, torch.float32), **usual)
    attend(*states(9, 4, 2, torch.float32), **{**usual, "window": 20})
    attend(*states(9, 4, 2, torch.bfloat16), **usual)
    with torch.autocast("cpu", torch.bfloat16):
        attend(*states(9, 4, 2, torch.float32), **usual)
    assert calls == [9, 9, 9, 9]
    attend(*states(9, 4, 2, torch.float32), **{**usual, "window": 4})
    attend(*states(9, 4, 2, torch.float32), **{**usual, "dropout": 0.5})
    attend(*states(1030, 1, 1, torch.float32), **usual)
    assert calls == [9, 9, 9, 9]
