from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tinsmith.train.optim import Optimizers
from tiny_training import config, make_engine, tiny_llama, weights_equal, write_tokens


def groups(optimizer: str) -> list[tuple[str, int, float]]:
    made = Optimizers(tiny_llama(), config(optimizer=optimizer, weight_decay=0.1))
    return [
        (type(one).__name__, len(group["params"]), group["weight_decay"])
        for one in made._all
        for group in one.param_groups
    ]


def test_norms_do_not_decay_and_muon_takes_hidden_matrices_only() -> None:
    assert groups("adamw") == [("AdamW", 15, 0.1), ("AdamW", 5, 0.0)]
    assert groups("muon") == [("AdamW", 1, 0.1), ("AdamW", 5, 0.0), ("Muon", 14, 0.1)]


def test_muon_leaves_learnt_positions_alone() -> None:
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64}
    made = Optimizers(GPT2LMHeadModel(GPT2Config(vocab_size=50, **shape)), config(optimizer="muon"))
    sizes = [tuple(each.shape) for each in made._all[1].param_groups[0]["params"]]
    assert (64, 32) not in sizes
    assert len(sizes) == 4


def test_muon_steps_are_of_the_size_of_adamw_steps() -> None:
    sizes = {}
    for name in ("adamw", "muon"):
        model = tiny_llama()
        before = model.model.layers[0].mlp.up_proj.weight.detach().clone()
        optimizers = Optimizers(model, config(optimizer=name, weight_decay=0))
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizers.step(1e-3)
        sizes[name] = float((model.model.layers[0].mlp.up_proj.weight.detach() - before).pow(2).mean().sqrt())
    assert sizes["adamw"] == pytest.approx(1e-3, rel=0.05)
    # match_rms_adamw aims at 0.2 of the rate, which is what AdamW's steps measure in real training.
    assert sizes["muon"] == pytest.approx(0.2e-3, rel=0.3)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_state_goes_through_tensors_and_json_bit_for_bit(tmp_path: Path, name: str) -> None:
    section = config(optimizer=name)
    tokens = write_tokens(tmp_path)
    engine = make_engine(tokens, section)
    for step in range(2):
        engine.gradients(step)
        engine.update(1e-3)
    other = make_engine(tokens, section)
    other.model.load_state_dict(engine.model.state_dict())
    tensors, rest = engine.optimizers.state()
    assert tensors
    other.optimizers.load({key: tensor.clone() for key, tensor in tensors.items()}, rest)
    for one in (engine, other):
        one.gradients(2)
        one.update(1e-3)
    assert weights_equal(engine.model, other.model)


def test_state_of_another_optimiser_is_refused() -> None:
    tensors, rest = Optimizers(tiny_llama(), config(optimizer="muon")).state()
    with pytest.raises(ValueError, match="size of optimizer"):
        Optimizers(tiny_llama(), config()).load(tensors, rest)
