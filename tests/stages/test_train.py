from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

import tinsmith.stages.train.run as stage
from tinsmith.base.errors import AssetError, TrainingError
from tinsmith.base.files import read_json, read_jsonl, write_json
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import ModelConfig, TrainConfig
from tinsmith.stages.train import Settings
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.tokens.tokenizer import save_tokenizer
from tinsmith.train.mixture import make_mixture
from tinsmith.train.objectives import Setup
from tiny_model import tiny_tokenizer, write_trained
from tiny_training import VOCABULARY, config, tiny_llama, write_pairs, write_tokens

pytestmark = pytest.mark.usefixtures("one_thread")


def run(
    tmp_path: Path, section: TrainConfig | None = None, *, model: ModelConfig | None = None
) -> dict[str, float]:
    out = tmp_path / "train"
    out.mkdir(exist_ok=True)
    return stage.train(
        section or config("12 steps"),
        settings=Settings(model or ModelConfig(scratch="llama@300k")),
        inputs={"tokenize": tmp_path / "tokens"},
        seed=7,
        out=out,
        progress=SilentProgress(),
    )


def test_the_stage_leaves_a_model_and_a_log_and_no_checkpoints(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    figures = run(tmp_path)
    out = tmp_path / "train"
    assert sorted(path.name for path in out.iterdir()) == ["log.jsonl", "model", "runtime.json"]
    rows = list(read_jsonl(out / "log.jsonl"))
    assert figures["steps"] == len(rows) == 12
    assert figures["supervised_tokens"] == sum(row["supervised"] for row in rows) < figures["tokens"]
    assert figures["first_loss"] == rows[0]["loss"] > figures["final_loss"] == rows[-1]["loss"]
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    assert torch.isfinite(model(torch.tensor([[5, 6, 7]])).logits).all()
    files = {path.name for path in (out / "model").iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json"} <= files


def test_a_local_directory_is_trained_further(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    base: PreTrainedModel = tiny_llama()
    base.save_pretrained(tmp_path / "base")
    figures = run(tmp_path, model=ModelConfig(base=str(tmp_path / "base")))
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "train" / "model")
    moved = trained.lm_head.weight - base.lm_head.weight.detach()
    assert 0 < float(moved.detach().abs().max()) < 0.1
    assert figures["final_loss"] < figures["first_loss"]


def test_killed_after_the_model_was_written_nothing_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(tmp_path / "tokens")
    first = run(tmp_path)
    (tmp_path / "train" / "checkpoints").mkdir()
    monkeypatch.setattr(stage, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert run(tmp_path) == first
    assert not (tmp_path / "train" / "checkpoints").exists()


def test_freed_memory_is_kept_for_the_steps_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(tmp_path / "tokens")
    seen: list[str] = []

    @contextlib.contextmanager
    def noted() -> Iterator[bool]:
        seen.append("kept")
        yield True
        seen.append("given back")

    fit = stage.fit
    monkeypatch.setattr(stage, "freed_memory_kept", noted)
    monkeypatch.setattr(stage, "fit", lambda *a, **k: (seen.append("fit"), fit(*a, **k)))
    run(tmp_path, config("2 steps"))
    assert seen == ["kept", "fit", "given back"]


def test_a_model_that_is_too_small_for_the_tokens_is_an_error(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    facts = json.loads((tmp_path / "tokens" / "tokens.json").read_text())
    (tmp_path / "tokens" / "tokens.json").write_text(json.dumps({**facts, "vocabulary": 10**6}))
    with pytest.raises(TrainingError, match="the token set has a vocabulary of 1000000"):
        run(tmp_path)


def test_a_sequence_that_the_model_cannot_read_is_told_before_training(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", documents=4)
    base = tiny_llama()
    base.config.max_position_embeddings = 32
    base.save_pretrained(tmp_path / "base")
    with pytest.raises(
        TrainingError, match=r"tokenize\.context: .* reads 32 at most\n  -> lower tokenize\.context to 32"
    ):
        run(tmp_path, model=ModelConfig(base=str(tmp_path / "base")))


def test_what_llama_cpp_cannot_run_is_refused_before_training(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", documents=4)
    base = tiny_llama()
    base.config.hidden_act = "gelu"
    base.save_pretrained(tmp_path / "base")
    with pytest.raises(AssetError, match="activation is gelu"):
        run(tmp_path, model=ModelConfig(base=str(tmp_path / "base")))
    base.config.hidden_act = "silu"
    base.save_pretrained(tmp_path / "base")
    facts = read_json(tmp_path / "tokens" / "tokenizer" / "tokenizer.json")
    write_json(
        tmp_path / "tokens" / "tokenizer" / "tokenizer.json", facts | {"normalizer": {"type": "Lowercase"}}
    )
    with pytest.raises(AssetError, match="changes text before splitting it"):
        run(tmp_path, model=ModelConfig(base=str(tmp_path / "base")))
    assert not (tmp_path / "train" / "log.jsonl").exists()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_fresh_weights_read_what_they_are_taught_where_their_family_can(tmp_path: Path, family: str) -> None:
    directory = tmp_path / "tokens"
    write_tokens(directory, documents=2)
    writer = ShardWriter(directory)
    writer.add("long", 0, [5] * 2100, [1] * 2100)
    writer.close([0], {"context": 2100, "vocabulary": VOCABULARY})
    arguments = {"section": config("1 steps"), "model": ModelConfig(scratch=f"{family}@300k")}
    if family == "gpt2":
        with pytest.raises(TrainingError, match="2100 tokens, and this gpt2 reads 2048"):
            run(tmp_path, **arguments)
    else:
        run(tmp_path, **arguments)
        facts = json.loads((tmp_path / "train" / "model" / "config.json").read_text())
        assert facts["max_position_embeddings"] == 2100


def test_no_tokens_and_no_base_are_errors(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    with pytest.raises(AssetError):
        run(tmp_path, model=ModelConfig(base=str(tmp_path / "none.gguf")))
    ShardWriter(tmp_path / "tokens").close([], {"context": 64, "vocabulary": 10})
    with pytest.raises(TrainingError, match="no tokens to train on"):
        run(tmp_path)


def test_a_mixture_of_objectives_tells_the_losses_of_each(tmp_path: Path) -> None:
    teacher = write_trained(tmp_path / "teacher")
    write_tokens(tmp_path / "tokens", documents=8)
    save_tokenizer(tiny_tokenizer(), tmp_path / "tokens" / "tokenizer")
    write_tokens(tmp_path / "tokens" / "sft", documents=6)
    write_pairs(tmp_path / "tokens" / "dpo")
    section = config(
        "4 steps",
        objective={"distil": 2, "sft": 1, "dpo": 1},
        distil={"teacher": str(teacher), "top_k": 4},
    )
    base = write_trained(tmp_path / "base")
    figures = run(tmp_path, section, model=ModelConfig(base=str(base)))
    out = tmp_path / "train"
    assert sorted(path.name for path in out.iterdir()) == ["log.jsonl", "model", "runtime.json"]
    row = next(read_jsonl(out / "log.jsonl"))
    for name in ("distil", "sft", "dpo"):
        assert figures[f"first_loss_{name}"] == row[f"loss_{name}"]
        assert f"final_loss_{name}" in figures
    losses = 0.5 * row["loss_distil"] + 0.25 * row["loss_sft"] + 0.25 * row["loss_dpo"]
    assert row["loss"] == pytest.approx(losses)
    rows = list(read_jsonl(out / "log.jsonl"))
    pairs = TokenSet(tmp_path / "tokens" / "dpo").tokens
    assert figures["epochs_dpo"] == sum(row["tokens_dpo"] for row in rows) / pairs
    assert (
        sum(row[f"tokens_{name}"] for row in rows for name in ("distil", "sft", "dpo")) == figures["tokens"]
    )


@pytest.mark.parametrize(("batch_tokens", "told"), [(128, ["sft"]), (4096, [])])
def test_an_example_that_outgrows_its_share_of_a_step_is_told(
    tmp_path: Path, batch_tokens: int, told: list[str]
) -> None:
    said: list[str] = []

    class Told(SilentProgress):
        def say(self, message: str) -> None:
            said.append(message)

    for folder in ("", "sft"):
        write_tokens(tmp_path / folder, documents=6)
    section = config("2 steps", objective={"next_token": 3, "sft": 1}, batch_tokens=batch_tokens)
    sets = {"next_token": TokenSet(tmp_path), "sft": TokenSet(tmp_path / "sft")}
    model = ModelConfig(base="none")
    make_mixture(Setup(section, model, tmp_path, Told()), sets, seed=7)
    assert [line.split(":")[0].strip() for line in said if "its share of a step" in line] == told


def test_a_set_that_was_never_made_is_an_error_before_anything_is_opened(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", documents=4)
    with pytest.raises(TrainingError, match="no tokens for the objective dpo"):
        run(tmp_path, config(objective="dpo"), model=ModelConfig(base=str(tmp_path / "none")))
