"""In bfloat16 a model computes as under autocast, with fewer conversions; in float32 nothing has changed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

import tinsmith.train.runtime as runtime
from tinsmith.base.progress import SilentProgress
from tinsmith.model import lora
from tinsmith.model.blocks import blocks_of
from tinsmith.model.lowered import lowered
from tinsmith.model.packed import pack, unpack
from tinsmith.model.packed import packed as find_packed
from tinsmith.recipe import LoraConfig
from tinsmith.train.mixed_precision import convert_once
from tiny_training import config, make_engine, tiny_llama, write_tokens

SIZES = {
    "vocab_size": 360,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


def gemma() -> PreTrainedModel:
    torch.manual_seed(1)
    return Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, pad_token_id=0, layer_types=["full_attention"] * 2))


def qwen() -> PreTrainedModel:
    torch.manual_seed(1)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES))


FAMILIES = {"llama": tiny_llama, "gemma3": gemma, "qwen3": qwen}


def shaken(model: PreTrainedModel) -> PreTrainedModel:
    """Give norms weights of their own, since fresh ones hide a wrong formula."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight += 0.3 * torch.randn_like(weight)
    return model


def outcome(
    model: PreTrainedModel, ids: torch.Tensor, *, lower: bool
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return logits and gradients of a plain loss."""
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
        logits = model(input_ids=ids, use_cache=False).logits.float()
        loss = nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:])
    loss.backward()
    grads = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return logits.detach(), grads


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm().clamp(min=1e-9))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_losses_and_gradients_are_those_of_autocast(family: str, trainable: str) -> None:
    plain = shaken(FAMILIES[family]())
    if trainable == "lora":
        lora.add(plain, LoraConfig(rank=4), seed=0)
        for name, weight in plain.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.1)
    changed = copy.deepcopy(plain)
    convert_once(changed)
    first = blocks_of(plain)[1][0], blocks_of(changed)[1][0]
    assert type(first[0].input_layernorm) is not type(first[1].input_layernorm)
    ids = torch.arange(3, 43)[None]
    exact_logits, exact = outcome(plain, ids, lower=False)
    same_logits, same = outcome(changed, ids, lower=False)
    assert torch.equal(exact_logits, same_logits)
    assert all(torch.equal(exact[name], same[name]) for name in exact)
    autocast_logits, autocast = outcome(plain, ids, lower=True)
    logits, ours = outcome(changed, ids, lower=True)
    assert relative(logits, exact_logits) < 0.01 + 1.5 * relative(autocast_logits, exact_logits)
    assert ours.keys() == exact.keys()
    for name, slope in exact.items():
        assert ours[name].dtype == torch.float32
        # No further from float32 than autocast is, but for chance.
        assert relative(ours[name], slope) < 0.02 + 1.5 * relative(autocast[name], slope), name


def test_changed_weights_are_converted_anew_and_others_are_not(tmp_path: Path) -> None:
    """Fused AdamW moves weights without telling, so an engine that trusted autograd's count would train old ones."""
    engine = make_engine(write_tokens(tmp_path), config(precision="bfloat16", learning_rate=0.1))
    engine.compute_in("bfloat16", compiled=False)
    weights = [weight for name, weight in engine.model.named_parameters() if weight.ndim == 2]
    with engine.autocast():
        before = [lowered(weight) for weight in weights]
        assert all(lowered(weight) is old for weight, old in zip(weights, before, strict=True))
    for step in range(2):
        engine.gradients(step)
        engine.update(0.1)
        with engine.autocast():
            for weight, old in zip(weights, before, strict=True):
                assert not torch.equal(lowered(weight), old)
                assert torch.equal(lowered(weight), weight.detach().bfloat16())
            before = [lowered(weight) for weight in weights]


def test_a_norm_of_another_formula_stays_as_it_is() -> None:
    class OddRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.eps = nn.Parameter(torch.rand(64)), 1e-6

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 2 * self.weight * states

    model = tiny_llama()
    odd = OddRMSNorm()
    blocks_of(model)[1][0].input_layernorm = odd
    convert_once(model)
    assert type(odd) is OddRMSNorm
    assert type(blocks_of(model)[1][1].input_layernorm) is not type(
        tiny_llama().model.layers[0].input_layernorm
    )


def test_a_copied_model_computes_with_its_own_weights() -> None:
    model = tiny_llama()
    convert_once(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.5)
    ids = torch.arange(3, 20)[None]
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert not torch.equal(model(input_ids=ids).logits, other(input_ids=ids).logits)
        assert torch.equal(model(input_ids=ids).logits, copy.deepcopy(model)(input_ids=ids).logits)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_packed_frozen_weights_train_the_same_adapters(tmp_path: Path, precision: str) -> None:
    tokens, weights = write_tokens(tmp_path), {}
    for packed in (False, True):
        model = tiny_llama()
        lora.add(model, LoraConfig(rank=4), seed=0)
        engine = make_engine(tokens, config(precision=precision, trainable="lora"), model)
        # Seven layers in each of two blocks, and the output layer, which is tied to the embeddings or not.
        assert len(engine.packable) == 15
        engine.compute_in(precision, compiled=False, packed=packed)
        dtype = getattr(torch, precision)
        assert all((find_packed(weight, dtype) is not None) == packed for weight in engine.packable)
        for step in range(3):
            engine.gradients(step)
            engine.update(1e-2)
        weights[packed] = {
            name: weight.detach() for name, weight in model.named_parameters() if "lora" in name
        }
    for name, plain in weights[False].items():
        torch.testing.assert_close(
            weights[True][name], plain, rtol=0.02, atol=2e-3 if precision == "bfloat16" else 1e-4
        )


def test_a_packed_weight_that_changes_is_not_used() -> None:
    weight = torch.randn(32, 16)
    rows, slope, bias = torch.randn(5, 16), torch.randn(5, 32), torch.randn(32)
    pack([weight], torch.float32)
    products = find_packed(weight, torch.float32)
    assert products is not None
    torch.testing.assert_close(products.forward(rows, bias), rows @ weight.T + bias)
    torch.testing.assert_close(products.backward(slope), slope @ weight)
    assert find_packed(weight, torch.bfloat16) is None
    weight += 1
    assert find_packed(weight, torch.float32) is None
    pack([weight], torch.float32)
    pack([weight], torch.bfloat16)
    torch.testing.assert_close(find_packed(weight, torch.float32).forward(rows), rows @ weight.T)
    unpack([weight], kept=torch.bfloat16)
    assert find_packed(weight, torch.float32) is None
    assert find_packed(weight, torch.bfloat16) is not None


def test_little_memory_is_told_and_nothing_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama()
    lora.add(model, LoraConfig(rank=4), seed=0)
    engine = make_engine(write_tokens(tmp_path), config("1 steps", trainable="lora"), model)
    told: list[str] = []
    progress = SilentProgress()
    monkeypatch.setattr(progress, "say", told.append)
    monkeypatch.setattr(runtime, "available_bytes", lambda: 1000)
    assert not runtime.choose_runtime(engine, tmp_path / "checkpoints", progress).packed
    assert "GiB of free memory" in told[0]
    monkeypatch.setattr(runtime, "available_bytes", lambda: 10**9)
    assert runtime.choose_runtime(engine, tmp_path / "other", progress).packed
    # A resumed run keeps the choice.
    assert not runtime.choose_runtime(engine, tmp_path / "checkpoints", progress).packed
