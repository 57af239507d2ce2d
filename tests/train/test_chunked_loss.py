from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

import tinsmith.train.chunked_loss as chunked
from tinsmith.model.lowered import lowered
from tinsmith.model.output_layer import OutputLayer
from tinsmith.train.chunked_loss import chunked_cross_entropy, chunked_log_probs, chunked_loss

STATES, WORDS = 50, 97


def inputs(bias: bool, frozen: bool) -> list[torch.Tensor | None]:
    torch.manual_seed(0)
    hidden = torch.randn(STATES, 16, requires_grad=True)
    weight = torch.randn(WORDS, 16, requires_grad=not frozen)
    return [hidden, weight, torch.randn(WORDS, requires_grad=not frozen) if bias else None]


def plain_logits(given: list[torch.Tensor | None], softcap: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
    doubles = [None if each is None else each.detach().double().requires_grad_() for each in given]
    logits = doubles[0] @ doubles[1].T
    logits = logits if doubles[2] is None else logits + doubles[2]
    return (softcap * torch.tanh(logits / softcap) if softcap else logits), doubles


def compare(given, value, plain, doubles) -> None:
    wanted = [place for place, each in enumerate(given) if each is not None and each.requires_grad]
    got = torch.autograd.grad(value / 3, [given[place] for place in wanted])
    expected = torch.autograd.grad(plain / 3, [doubles[place] for place in wanted])
    assert float(value.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("softcap", [0.0, 3.0])
@pytest.mark.parametrize(("bias", "frozen"), [(False, False), (True, False), (True, True)])
def test_losses_and_gradients_are_those_of_whole_logits(
    monkeypatch: pytest.MonkeyPatch, rows: int, bias: bool, frozen: bool, softcap: float
) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_AT_ONCE", rows * WORDS)
    given = inputs(bias, frozen)
    weights = torch.rand(STATES, WORDS)
    sizes: list[int] = []

    def judge(logits: torch.Tensor, part: slice) -> torch.Tensor:
        sizes.append(len(logits))
        return (logits.softmax(dim=1) * weights[part]).square().sum()

    value = chunked_loss(given[0], OutputLayer(*given[1:], softcap), judge)
    logits, doubles = plain_logits(given, softcap)
    compare(given, value, (logits.softmax(dim=1) * weights).square().sum(), doubles)
    assert max(sizes) == min(rows, STATES)
    assert sum(sizes) == STATES


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("softcap", [0.0, 3.0])
@pytest.mark.parametrize(("bias", "frozen"), [(False, False), (True, False), (True, True)])
def test_log_probs_and_gradients_are_those_of_whole_logits(
    monkeypatch: pytest.MonkeyPatch, rows: int, bias: bool, frozen: bool, softcap: float
) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_AT_ONCE", rows * WORDS)
    given = inputs(bias, frozen)
    labels = torch.randint(0, WORDS, (STATES,))
    logits, doubles = plain_logits(given, softcap)
    plain = logits.log_softmax(dim=1)[range(STATES), labels]
    got = chunked_log_probs(given[0], OutputLayer(*given[1:], softcap), labels)
    torch.testing.assert_close(got.double(), plain, rtol=1e-5, atol=1e-5)
    # Not linear in the log-probabilities, so each has a gradient of its own.
    compare(given, got.exp().sum() + got.square().sum(), plain.exp().sum() + plain.square().sum(), doubles)


def test_without_gradients_nothing_is_kept() -> None:
    given = inputs(bias=True, frozen=False)
    output = OutputLayer(*given[1:], 3.0)
    with torch.no_grad():
        assert not chunked_log_probs(given[0], output, torch.zeros(STATES, dtype=torch.int64)).requires_grad
        assert not chunked_loss(given[0], output, lambda logits, part: logits.sum()).requires_grad


def test_where_nothing_learns_the_loss_is_the_same() -> None:
    given = [each.detach() for each in inputs(bias=True, frozen=True)]
    value = chunked_loss(given[0], OutputLayer(*given[1:], 3.0), lambda logits, part: logits.square().sum())
    assert float(value) == pytest.approx(float(plain_logits(given, 3.0)[0].detach().square().sum()), rel=1e-5)


def test_in_bfloat16_the_way_back_sees_the_logits_of_the_way_forward() -> None:
    given = inputs(bias=True, frozen=False)
    labels = torch.randint(0, WORDS, (STATES,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = chunked_log_probs(given[0], OutputLayer(*given[1:]), labels).sum()
    (slope,) = torch.autograd.grad(total, given[2])
    # Probabilities add up to one, so what each token gains the others lose; other logits would break the sum.
    assert float(slope.sum()) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("softcap", [0.0, 3.0])
def test_chunks_give_the_plain_loss_and_gradients(
    monkeypatch: pytest.MonkeyPatch, rows: int, biased: bool, softcap: float
) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_OF_CROSS_ENTROPY", rows * 97)
    torch.manual_seed(0)
    leaves = [torch.randn(50, 16, requires_grad=True), torch.randn(97, 16, requires_grad=True)]
    leaves += [torch.randn(97, requires_grad=True)] * biased
    labels = torch.randint(0, 97, (50,))
    hidden, weight, *bias = (leaf.double() for leaf in leaves)
    logits = hidden @ weight.T + sum(bias)
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    plain = cross_entropy(logits, labels, reduction="sum")
    expected = torch.autograd.grad(plain / 3, leaves)
    output = OutputLayer(leaves[1], leaves[2] if biased else None, softcap)
    ours = chunked_cross_entropy(leaves[0], output, labels)
    got = torch.autograd.grad(ours / 3, leaves)
    torch.testing.assert_close(ours.double(), plain)
    torch.testing.assert_close(got, expected)


def test_a_bias_learns_where_nothing_else_does() -> None:
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(5, 8), torch.randn(9, 8), torch.randn(9, requires_grad=True)
    chunked_cross_entropy(hidden, OutputLayer(weight, bias), torch.arange(5)).backward()
    assert bias.grad is not None
    assert bias.grad.abs().sum() > 0


def test_whole_logits_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_OF_CROSS_ENTROPY", 4 * 500)
    monkeypatch.setattr(chunked, "_CACHED", 2 * 500)
    seen: list[int] = []
    plain = torch.Tensor.exp_
    monkeypatch.setattr(torch.Tensor, "exp_", lambda self: seen.append(self.numel()) or plain(self))
    chunked_cross_entropy(
        torch.randn(90, 8), OutputLayer(torch.randn(500, 8)), torch.zeros(90, dtype=torch.int64)
    )
    assert len(seen) == 45
    assert max(seen) == 2 * 500
    # Of a single row the probabilities must exist.
    monkeypatch.setattr(chunked, "_CACHED", 10)
    chunked_cross_entropy(
        torch.randn(3, 8), OutputLayer(torch.randn(500, 8)), torch.zeros(3, dtype=torch.int64)
    )
    assert max(seen[45:]) == 500


def test_pieces_and_chunks_of_rows_give_the_same_gradient_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 the gradient of the weights is summed in float32 over chunks of rows, block by block of tokens."""
    given = inputs(bias=True, frozen=False)
    labels = torch.randint(0, WORDS, (STATES,))
    grads = []
    for cached, logits in ((1 << 20, 1 << 25), (3 * WORDS, 7 * WORDS)):
        monkeypatch.setattr(chunked, "_CACHED", cached)
        monkeypatch.setattr(chunked, "_LOGITS_OF_CROSS_ENTROPY", logits)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = chunked_cross_entropy(given[0], OutputLayer(*given[1:]), labels)
        grads.append(torch.autograd.grad(value, given))
    for one, other in zip(*grads, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)


def test_a_certain_prediction_keeps_its_small_gradient_in_bfloat16() -> None:
    """A probability of 0.9995 rounds to 1 in bfloat16, and nothing would be left to learn from."""
    hidden, weight = torch.tensor([[1.0, 0.0]], requires_grad=True), torch.tensor([[7.625, 0.0], [0.0, 0.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        chunked_cross_entropy(hidden, OutputLayer(weight), torch.tensor([0])).backward()
    left = 1 / (1 + torch.tensor(7.625).exp())
    assert float(hidden.grad[0, 0]) == pytest.approx(-7.625 * float(left), rel=0.01)


@pytest.mark.parametrize("frozen", [False, True])
def test_under_autocast_losses_and_gradients_are_those_of_converted_weights(frozen: bool) -> None:
    hidden, weight, _ = inputs(bias=False, frozen=frozen)
    labels = torch.arange(STATES)
    wanted = [hidden] if frozen else [hidden, weight]
    for change in (0.0, 0.5):  # weights that have changed are converted again
        with torch.no_grad():
            weight += change
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = chunked_cross_entropy(hidden, OutputLayer(weight), labels)
            plain = cross_entropy((hidden @ weight.T).float(), labels, reduction="sum")
        assert float(value.detach()) == pytest.approx(float(plain.detach()), rel=1e-6)
        got, expected = torch.autograd.grad(value, wanted), torch.autograd.grad(plain, wanted)
        for mine, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=2e-2)


def test_frozen_weights_are_converted_once() -> None:
    weight = torch.randn(WORDS, 16)
    assert lowered(weight) is weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        first = lowered(weight)
        assert lowered(weight) is first
        weight += 1
        second = lowered(weight)
        assert second is not first
        torch.testing.assert_close(second, weight.bfloat16(), rtol=0, atol=0)
