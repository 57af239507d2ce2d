"""Adapters and smaller models through the whole stage: what is left is plain, the same after kills, and told of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import tinsmith.stages.train.run as stage
import tiny_workers
from small_vocabulary import write_bpe
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.model.blocks import sample_loss
from tinsmith.model.load import parameter_count
from tinsmith.recipe import TrainConfig
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer
from tinsmith.tokens.vocabulary import restrict_vocabulary
from tiny_model import tiny_model
from tiny_stage import train_stage, train_stage_together
from tiny_training import VOCABULARY, config, write_tokens

LORA = config("4 steps", trainable="lora", lora={"rank": 4})
SMALLER = config("4 steps", objective="distil", streamline={"vocabulary": VOCABULARY, "layers": 1, "mlp": 96})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Write a base of 400 tokens, and training tokens that use 360 of them."""
    tiny_model().save_pretrained(tmp_path / "base")
    write_bpe(tmp_path / "base.gguf")
    tokenizer = load_tokenizer(tmp_path / "base.gguf")
    save_tokenizer(tokenizer, tmp_path / "base")
    write_tokens(tmp_path / "tokens")
    smaller, kept = restrict_vocabulary(tokenizer, [0] * len(tokenizer), VOCABULARY)
    save_tokenizer(smaller, tmp_path / "tokens" / "tokenizer")
    write_json(tmp_path / "tokens" / "kept.json", {"kept": kept})
    return tmp_path / "base"


def run(base: Path, section: TrainConfig, out: str = "train") -> dict[str, float]:
    return train_stage(base.parent, section, out)


def weights(base: Path, out: str = "train") -> dict[str, torch.Tensor]:
    return load_file(base.parent / out / "model" / "model.safetensors")


def test_adapters_end_up_in_a_plain_model_and_leave_the_rest_as_it_was(base: Path) -> None:
    figures = run(base, LORA)
    before, after = load_file(base / "model.safetensors"), weights(base)
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "_proj" in name}
    assert figures["parameters"] == parameter_count(tiny_model())
    sizes = [sum(before[name].shape) for name in moved]
    assert figures["trainable_parameters"] == 4 * sum(sizes)
    assert 0 <= figures["merge_difference"] < 1e-5
    assert (
        read_json(base.parent / "train" / "adapters.json")["merge_difference"] == figures["merge_difference"]
    )
    assert figures["final_loss"] < figures["first_loss"]


def test_a_smaller_model_is_cut_told_of_and_recovers_from_its_teacher(base: Path) -> None:
    figures = run(base, SMALLER)
    report = read_json(base.parent / "train" / "streamline.json")
    model = AutoModelForCausalLM.from_pretrained(base.parent / "train" / "model")
    assert (model.config.vocab_size, model.config.num_hidden_layers) == (VOCABULARY, 1)
    assert model.config.intermediate_size == 96
    assert figures["parameters_before"] == parameter_count(tiny_model())
    assert figures["parameters_after"] == parameter_count(model)
    names = ("loss_before", "loss_after_surgery", "loss_after_training", "seconds")
    assert [figures[f"streamline_{name}"] for name in names] == [report[name] for name in names]
    tokens = TokenSet(base.parent / "tokens")
    sample = [
        torch.from_numpy(tokens.sequence(n)[0].astype("int64")) for n in range(report["sample_sequences"])
    ]
    assert report["sample_tokens"] == sum(map(len, sample)) <= 1024
    assert report["loss_after_training"] == pytest.approx(sample_loss(model, sample), abs=1e-5)
    assert report["loss_after_training"] < report["loss_after_surgery"]


@pytest.mark.parametrize("section", [LORA, SMALLER], ids=["lora", "streamline"])
def test_a_killed_run_ends_with_the_same_bits(
    base: Path, section: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(base, section, "plain")
    with monkeypatch.context() as patched:
        patched.setattr(stage, "fit", lambda *_, **__: exec("raise RuntimeError('killed')"))
        with pytest.raises(RuntimeError, match="killed"):
            run(base, section, "killed")
    run(base, section, "killed")
    one, other = weights(base, "plain"), weights(base, "killed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_the_kept_tokens_nothing_is_cut(base: Path) -> None:
    (base.parent / "tokens" / "kept.json").unlink()
    with pytest.raises(TrainingError, match="no list of the tokens that are kept"):
        run(base, config("4 steps", streamline={"vocabulary": VOCABULARY}))


def test_two_processes_end_with_the_model_of_one(base: Path) -> None:
    streamline = {"vocabulary": VOCABULARY, "layers": 1}
    section = config("3 steps", trainable="lora", lora={"rank": 4}, streamline=streamline)
    run(base, section, "alone")
    (base.parent / "section.json").write_text(section.model_dump_json())
    store = tiny_workers.new_store()
    for process in tiny_workers.start(train_stage_together, base.parent, store):
        process.join(100)
        assert process.exitcode == 0, (base.parent / "said-0.txt").read_text()
    one, other = weights(base, "alone"), weights(base, "together")
    assert one.keys() == other.keys()
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-4
    reports = [
        read_json(base.parent / out / "streamline.json") | {"seconds": 0} for out in ("alone", "together")
    ]
    assert reports[0].pop("loss_after_training") == pytest.approx(
        reports[1].pop("loss_after_training"), abs=1e-4
    )
    assert reports[0] == reports[1]
