"""Adapters: what they compute, what they leave alone, and that folding them in changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft.tuners.lora import Linear as PeftLinear
from torch import nn
from transformers import PhiConfig, PreTrainedModel

import small_models
from small_models import tiny_model
from tinsmith.base.errors import RecipeError, TrainingError
from tinsmith.base.progress import SilentProgress
from tinsmith.model import lora
from tinsmith.model.load import load_model
from tinsmith.recipe import LoraConfig
from tinsmith.train.loop import fit
from tiny_training import config, make_engine, tiny_llama, write_tokens

FAMILIES = ("llama", "gpt2", "phi", "bloom", "gemma2", "gemma3", "qwen3")
IDS = torch.arange(3, 40)[None]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _with_phi(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    monkeypatch.setitem(small_models.CONFIGS, "phi", lambda size: PhiConfig(vocab_size=size, **sizes))


def adapted(family: str, *, trained: bool = True, **options: object) -> PreTrainedModel:
    """Return a tiny model with adapters that change its answers."""
    model = tiny_model(family)
    lora.add(model, LoraConfig.model_validate({"rank": 4, **options}), seed=1)
    if trained:
        torch.manual_seed(2)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0, 0.05)
    return model


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_adapters_leave_a_plain_model_with_the_same_answers(family: str, tmp_path: Path) -> None:
    plain, model = tiny_model(family), adapted(family)
    before = logits(model)
    assert (before - logits(plain)).abs().max() > 0.1
    assert type(model) is type(plain)
    assert lora.merge(model, IDS) < 1e-5
    assert not hasattr(model, "peft_config")
    assert [type(module) for module in model.modules()] == [type(module) for module in plain.modules()]
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(weight.requires_grad for weight in model.parameters())
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(load_model(tmp_path)), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_merge_that_changes_answers_is_an_error(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(family)
    whole = PeftLinear.merge
    layers = [module for module in model.modules() if isinstance(module, PeftLinear)]

    def forgetful(layer: PeftLinear) -> None:
        if layer is not layers[3]:
            whole(layer)

    monkeypatch.setattr(PeftLinear, "merge", forgetful)
    with pytest.raises(TrainingError, match="merging the adapters changes logits"):
        lora.merge(model, IDS)


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_adapters_change_nothing_and_all_linear_layers_of_the_blocks_have_one(family: str) -> None:
    plain, model = tiny_model(family), adapted(family, trained=False)
    torch.testing.assert_close(logits(model), logits(plain), rtol=0, atol=1e-5)
    _, blocks = lora.blocks_of(plain)
    matrices = [w for m in blocks.modules() for n, w in m.named_parameters(recurse=False) if w.ndim == 2]
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * len(matrices)
    assert all("lora_" in name for name in trained)
    assert not isinstance(model.get_output_embeddings(), PeftLinear)


def test_the_seed_decides_the_adapters() -> None:
    def first(seed: int, drawn_before: int) -> torch.Tensor:
        model = tiny_model()
        torch.rand(drawn_before)
        state = torch.get_rng_state()
        lora.add(model, LoraConfig(rank=4), seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return next(weight for name, weight in model.named_parameters() if "lora_A" in name)

    assert torch.equal(first(3, 1), first(3, 2))
    assert not torch.equal(first(3, 1), first(4, 1))


def test_targets_are_taken_by_name_and_unknown_ones_named() -> None:
    model = adapted("gpt2", targets=("c_attn",))
    trained = {name.split(".")[4] for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {"c_attn"}
    with pytest.raises(RecipeError, match=r"no linear layer .* called q_proj") as caught:
        adapted("gpt2", targets=("c_attn", "q_proj"))
    assert "c_attn, c_fc, c_proj" in str(caught.value)
    with pytest.raises(RecipeError, match="called lm_head"):
        adapted("llama", targets=("lm_head",))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_outputs_and_gradients_are_those_of_the_definition(kind: torch.dtype, bias: bool) -> None:
    torch.manual_seed(4)
    holder = nn.Module()
    holder.config = type("Config", (), {"num_hidden_layers": 1})
    holder.blocks = nn.ModuleList([nn.Sequential(nn.Linear(24, 40, bias=bias))])
    lora.add(holder, LoraConfig(rank=3, alpha=6.0), seed=1)
    layer = holder.blocks[0][0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(b, std=0.3)
    x, slope = torch.randn(2, 7, 24, requires_grad=True), torch.randn(2, 7, 40)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        result = layer(x)
    assert result.dtype == kind
    result.backward(slope.to(kind))
    wide = [tensor.detach().double().requires_grad_() for tensor in (x, a, b)]
    weight = layer.base_layer.weight.double()
    expected = wide[0] @ weight.T + 2.0 * (wide[0] @ wide[1].T @ wide[2].T)
    if bias:
        expected = expected + layer.base_layer.bias.double()
    expected.backward(slope.double())
    error = 1e-5 if kind == torch.float32 else 0.02
    pairs = [(result, expected), (x.grad, wide[0].grad), (a.grad, wide[1].grad), (b.grad, wide[2].grad)]
    for found, wanted in pairs:
        assert (found.double() - wanted).abs().max() < error * wanted.abs().max()
    assert x.grad.dtype == a.grad.dtype == b.grad.dtype == torch.float32
    assert layer.base_layer.weight.grad is None


def test_dropout_acts_in_training_only() -> None:
    model = adapted("llama", dropout=0.5)
    model.train()
    assert not torch.equal(logits(model), logits(model))
    model.eval()
    torch.testing.assert_close(logits(model), logits(adapted("llama")))


def test_the_first_layers_compute_no_gradient_of_frozen_embeddings() -> None:
    model = adapted("llama").train()
    model(input_ids=IDS, labels=IDS).loss.backward()
    assert all(weight.grad is None for name, weight in model.named_parameters() if "lora_" not in name)
    assert all(weight.grad is not None for name, weight in model.named_parameters() if "lora_" in name)


def lora_run(tokens: Path, out: Path, stop_at: int | None = None) -> PreTrainedModel:
    """Train adapters for six steps; a checkpoint follows each. The process may stop before a step."""
    model = tiny_llama()
    section = config("6 steps", trainable="lora", checkpoint_seconds=1e-9, lora={"rank": 4, "dropout": 0.1})
    lora.add(model, section.lora, seed=7)
    engine = make_engine(write_tokens(tokens), section, model)
    gradients = engine.gradients

    def stopping(step: int) -> dict[str, float]:
        if step == stop_at:
            raise RuntimeError("stopped")
        return gradients(step)

    engine.gradients = stopping  # type: ignore[method-assign]
    out.mkdir(exist_ok=True)
    fit(engine, out=out, progress=SilentProgress())
    return model


def test_training_moves_adapters_only_and_a_stopped_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    model = lora_run(tmp_path / "tokens", tmp_path / "plain")
    fresh = tiny_llama()
    lora.add(fresh, LoraConfig(rank=4), seed=7)
    for (name, start), end in zip(fresh.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(start, end) == ("lora_" not in name), name
    with pytest.raises(RuntimeError, match="stopped"):
        lora_run(tmp_path / "tokens", tmp_path / "stopped", stop_at=4)
    resumed = lora_run(tmp_path / "tokens", tmp_path / "stopped")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))
    newest = max((tmp_path / "plain" / "checkpoints").glob("step-*"))
    frozen = sum(weight.nbytes for name, weight in fresh.named_parameters() if "lora_" not in name)
    assert sum(file.stat().st_size for file in newest.iterdir()) < frozen
