from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import tinsmith.train.loop as loop_module
import tinsmith.train.runtime as runtime
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.tokens.batches import Batch
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.train.budget import Decision
from tinsmith.train.engine import Engine
from tinsmith.train.journal import uninterrupted
from tinsmith.train.loop import fit, replay
from tinsmith.train.mixture import MixtureComponent
from tiny_training import (
    VOCABULARY,
    Told,
    config,
    make_engine,
    run,
    tiny_llama,
    weights_equal,
    write_tokens,
)


def steps_in(out: Path) -> list[int]:
    return [row["step"] for row in read_jsonl(out / "log.jsonl")]


def test_the_loss_falls_and_the_log_tells(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    told = Told()
    run(tokens, tmp_path / "out", config("40 steps"), told)
    rows = list(read_jsonl(tmp_path / "out" / "log.jsonl"))
    assert [row["step"] for row in rows] == list(range(40))
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    facts = {
        "step",
        "tokens",
        "seconds",
        "learning_rate",
        "loss",
        "supervised",
        "grad_norm",
        "loader_seconds",
    }
    assert set(rows[0]) == facts
    rates = [row["learning_rate"] for row in rows]
    assert rates[0] < rates[2] == pytest.approx(3e-3)
    assert rates[-1] < 3e-4
    assert told.tasks == [("training", sum(row["tokens"] for row in rows), "tokens")]
    assert not (tmp_path / "out" / "schedule.jsonl").exists()


@pytest.mark.parametrize("budget", ["4 steps", "600 tokens", "1 epochs", "1.5 epochs"])
def test_counting_budgets_are_reached_and_not_passed_by_a_step(tmp_path: Path, budget: str) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    run(tokens, tmp_path / "out", config(budget))
    rows = list(read_jsonl(tmp_path / "out" / "log.jsonl"))
    seen = sum(row["tokens"] for row in rows)
    amount, kind = float(budget.split()[0]), budget.split()[1]
    wanted = {"steps": seen, "tokens": amount, "epochs": amount * tokens.tokens}[kind]
    assert wanted <= seen < wanted + rows[-1]["tokens"]
    assert len(rows) == {"4 steps": 4, "600 tokens": 3}.get(budget, len(rows))


def test_ctrl_c_keeps_the_step_and_goes_on(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    plain = run(tokens, tmp_path / "plain", config("9 steps"))
    calls = itertools.count(1)

    def interrupt(amount: float) -> None:
        if next(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tokens, tmp_path / "out", config("9 steps"), Told(interrupt))
    assert (tmp_path / "out" / "checkpoints" / "step-000000004").is_dir()
    told = Told()
    resumed = run(tokens, tmp_path / "out", config("9 steps"), told)
    assert weights_equal(resumed.model, plain.model)
    assert "resuming at step 4" in told.lines[-1]


def test_ctrl_c_in_the_middle_of_gradients_keeps_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    plain = run(tokens, tmp_path / "plain", config("5 steps"))
    whole = Engine._backward
    calls = itertools.count(1)

    def interrupted(self: Engine, part: MixtureComponent, batch: Batch, scale: float) -> dict[str, float]:
        if next(calls) == 9:
            raise KeyboardInterrupt
        return whole(self, part, batch, scale)

    monkeypatch.setattr(Engine, "_backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tokens, tmp_path / "out", config("5 steps"))
    monkeypatch.undo()
    assert weights_equal(run(tokens, tmp_path / "out", config("5 steps")).model, plain.model)


def test_ctrl_c_while_weights_move_is_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    plain = run(tokens, tmp_path / "plain", config("5 steps"))
    whole = Engine.update
    calls = itertools.count(1)

    def interrupted(self: Engine, learning_rate: float) -> None:
        if next(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        whole(self, learning_rate)

    monkeypatch.setattr(Engine, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tokens, tmp_path / "out", config("5 steps"))
    monkeypatch.undo()
    assert (tmp_path / "out" / "checkpoints" / "step-000000003").is_dir()
    assert weights_equal(run(tokens, tmp_path / "out", config("5 steps")).model, plain.model)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_update(number: int) -> None:
    reached = []
    usual = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012
            signal.raise_signal(number)
            reached.append("end of the block")
        assert reached
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, usual)


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone() -> None:
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            with uninterrupted():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not failed


@pytest.mark.parametrize("seconds", [2, 4])
def test_a_time_budget_ends_on_time_with_its_decay_done(tmp_path: Path, seconds: int) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    told = Told()
    run(tokens, tmp_path / "out", config(f"{seconds}s", batch_tokens=128), told)
    rows = list(read_jsonl(tmp_path / "out" / "log.jsonl"))
    schedule = list(read_jsonl(tmp_path / "out" / "schedule.jsonl"))
    spent = sum(row["seconds"] for row in rows)
    assert spent == pytest.approx(seconds, rel=0.05)
    assert rows[-1]["learning_rate"] < 0.1 * 3e-3
    assert [row["step"] for row in schedule] == [row["step"] for row in rows]
    assert told.tasks == [("training", seconds, "s")]


def test_saving_is_no_training_time_and_a_resumed_run_ends_on_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, section = write_tokens(tmp_path / "tokens"), config("2s", checkpoint_seconds=0.3)
    save = loop_module.save_checkpoint

    def slow(*arguments: object, **more: object) -> None:
        time.sleep(0.2)
        save(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop_module, "save_checkpoint", slow)
    stop_at = time.monotonic() + 2.0

    def interrupt(amount: float) -> None:
        if time.monotonic() > stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tokens, tmp_path / "out", section, Told(interrupt))
    before = sum(row["seconds"] for row in read_jsonl(tmp_path / "out" / "log.jsonl"))
    told = Told()
    engine = run(tokens, tmp_path / "out", section, told)
    rows = list(read_jsonl(tmp_path / "out" / "log.jsonl"))
    assert 0.2 < before < 1.9
    assert sum(row["seconds"] for row in rows) == pytest.approx(2, rel=0.05)
    assert told.tasks[0][1] == pytest.approx(2 - before, abs=1e-6)
    again = make_engine(tokens, section)
    decisions = [Decision(**row) for row in read_jsonl(tmp_path / "out" / "schedule.jsonl")]
    replay(again, decisions, runtime.RuntimeChoice(**read_json(tmp_path / "out" / "runtime.json")))
    assert weights_equal(again.model, engine.model)


def test_replaying_another_schedule_gives_other_weights(tmp_path: Path) -> None:
    tokens, section = write_tokens(tmp_path / "tokens"), config("1s")
    engine = run(tokens, tmp_path / "out", section)
    rows = list(read_jsonl(tmp_path / "out" / "schedule.jsonl"))
    rows[1]["learning_rate"] *= 1.001
    again = make_engine(tokens, section)
    choice = runtime.RuntimeChoice(**read_json(tmp_path / "out" / "runtime.json"))
    replay(again, [Decision(**row) for row in rows], choice)
    assert not weights_equal(again.model, engine.model)


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    engine = make_engine(tokens, config())
    with torch.no_grad():
        engine.model.model.norm.weight[0] = float("nan")
    before = engine.model.model.layers[0].mlp.up_proj.weight.detach().clone()
    with pytest.raises(
        TrainingError, match=r"the loss is not finite at step 3\n  -> lower train\.learning_rate"
    ):
        engine.gradients(3)
    assert torch.equal(before, engine.model.model.layers[0].mlp.up_proj.weight)
    assert all(parameter.grad is None for parameter in engine.model.parameters())


def test_dropout_is_drawn_from_the_number_of_the_step(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path)
    model = tiny_llama()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    engine = make_engine(tokens, config(), model)
    first_batches = engine.mixture.components[0].batches.step(0)
    engine.mixture.components[0].batches.step = lambda number: first_batches

    def loss(step: int) -> float:
        value = engine.gradients(step)["loss"]
        engine.optimizers.drop_gradients()
        return value

    first = loss(3)
    assert loss(4) != first
    assert loss(3) == first


def test_a_base_with_dropout_is_trained(tmp_path: Path) -> None:
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **shape))
    assert model.config.resid_pdrop == 0.1
    engine = make_engine(write_tokens(tmp_path / "tokens"), config("2 steps"), model)
    rows = fit(engine, out=tmp_path / "out", progress=Told())
    assert len(rows) == 2
    assert engine.model.training


def test_a_stop_that_is_also_the_padding_is_learnt_as_input(tmp_path: Path) -> None:
    model = tiny_llama()
    assert model.config.pad_token_id == model.config.eos_token_id == 2
    untied = LlamaForCausalLM(LlamaConfig(**{**model.config.to_dict(), "tie_word_embeddings": False}))
    assert untied.model.embed_tokens.padding_idx == 2
    writer = ShardWriter(tmp_path)
    writer.add("two turns", 0, [5, 6, 2, 7, 8, 9], [1] * 6)
    writer.close([0], {"context": 64, "vocabulary": VOCABULARY})
    engine = make_engine(TokenSet(tmp_path), config(), untied)
    engine.gradients(0)
    rows = engine.model.model.embed_tokens.weight.grad.norm(dim=1)
    assert (rows > 0).nonzero().flatten().tolist() == [2, 5, 6, 7, 8]


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    section = config(clip_norm=0.01)
    engine = make_engine(write_tokens(tmp_path), section)
    facts = engine.gradients(0)
    norm = torch.stack([parameter.grad.norm() for parameter in engine.model.parameters()]).norm()
    assert facts["grad_norm"] > 0.1
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    losses = {}
    for precision in ("float32", "bfloat16"):
        engine = run(tokens, tmp_path / precision, config("3 steps", precision=precision))
        losses[precision] = [row["loss"] for row in read_jsonl(tmp_path / precision / "log.jsonl")]
        assert {parameter.dtype for parameter in engine.model.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def test_rehearsing_leaves_no_trace(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    engine = make_engine(tokens, config())
    part = engine.mixture.components[0]
    assert engine.time_microbatch(part, part.batches.step(0)[0], "float32") > 0
    assert weights_equal(engine.model, tiny_llama())
    assert all(parameter.grad is None for parameter in engine.model.parameters())


def test_a_log_that_lacks_steps_is_an_error(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    run(tokens, tmp_path / "out", config("3 steps", checkpoint_seconds=1e-6))
    (tmp_path / "out" / "log.jsonl").write_text(json.dumps({"step": 0, "seconds": 1}) + "\n")
    with pytest.raises(TrainingError, match="should list each of the 3 steps"):
        run(tokens, tmp_path / "out", config("6 steps"))
