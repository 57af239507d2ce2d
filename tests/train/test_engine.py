from __future__ import annotations

import itertools
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import tinsmith.train.dry_run as dry_run
import tinsmith.train.loop as loop_module
import tinsmith.train.runtime as runtime
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import TrainConfig
from tinsmith.tokens.batches import Batch
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.train.budget import Decision
from tinsmith.train.engine import Engine
from tinsmith.train.journal import uninterrupted
from tinsmith.train.loop import fit, replay
from tinsmith.train.mixture import MixtureComponent
from tiny_training import (
    VOCABULARY,
    config,
    make_engine,
    tiny_llama,
    weights_equal,
    write_tokens,
)


class Told(SilentProgress):
    """Keep what was said, and call a function at each advance."""

    def __init__(self, at_advance: Callable[[float], None] = lambda amount: None) -> None:
        self.lines: list[str] = []
        self.tasks: list[tuple[str, float | None, str]] = []
        self.at_advance = at_advance

    def say(self, message: str) -> None:
        self.lines.append(message)

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator[Callable[[float], None]]:
        self.tasks.append((what, total, unit))
        yield self.at_advance


def run(tokens: TokenSet, out: Path, section: TrainConfig, progress: Told | None = None) -> Engine:
    out.mkdir(exist_ok=True)
    engine = make_engine(tokens, section)
    fit(engine, out=out, progress=progress or Told())
    return engine


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


def test_auto_precision_takes_the_faster_says_so_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, section = write_tokens(tmp_path / "tokens"), config("2 steps", precision="auto")
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: True)
    for faster, slower in (("bfloat16", "float32"), ("float32", "bfloat16")):
        pace = {faster: 1.0, slower: 4.0}
        monkeypatch.setattr(
            Engine, "time_microbatch", lambda self, part, batch, precision, pace=pace: pace[precision]
        )
        told = Told()
        engine = run(tokens, tmp_path / faster, section, told)
        assert engine.precision == faster
        assert f"precision: {faster} (measured" in told.lines[0]
    monkeypatch.undo()
    # What was decided stays decided, whatever would be measured now.
    assert run(tokens, tmp_path / "bfloat16", config("4 steps", precision="auto")).precision == "bfloat16"


def test_precision_is_measured_on_a_whole_micro_batch_with_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batch] = []
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(
        Engine, "time_microbatch", lambda self, part, batch, precision: seen.append(batch) or 1.0
    )
    section = config("1 steps", precision="auto", micro_rows=4, batch_tokens=256)
    engine = run(write_tokens(tmp_path / "tokens"), tmp_path / "out", section)
    whole = engine.mixture.components[0].batches.step(0)[0]
    assert len(whole.lengths) > 1
    assert torch.equal(seen[0].ids, whole.ids)
    assert torch.equal(seen[0].labels, whole.labels)
    # Where memory is short, the first tokens keep their own targets.
    part = runtime._first_tokens(whole, whole.lengths[0] + 3)
    assert part.lengths == (whole.lengths[0], 3)
    kept = whole.target_positions < part.ids.shape[1] - 1
    assert torch.equal(part.labels, whole.labels[kept])
    assert torch.equal(part.target_positions, whole.target_positions[kept])


@pytest.mark.parametrize(("fastest", "rows"), [(64, 1), (128, 2), (256, 4)])
def test_on_a_time_budget_the_fastest_micro_batches_are_taken_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fastest: int, rows: int
) -> None:
    tokens = write_tokens(tmp_path / "tokens")

    def seconds(self: Engine, part: MixtureComponent, batch: Batch, precision: str) -> float:
        size = batch.ids.shape[1]
        return size * (1.0 if fastest / 2 < size <= fastest else 1.5)

    monkeypatch.setattr(Engine, "time_microbatch", seconds)
    section, told = config("1s", batch_tokens=256, micro_rows=0), Told()
    engine = run(tokens, tmp_path / "out", section, told)
    size = engine.mixture.components[0].batches.micro_tokens
    assert (
        size
        == rows * tokens.context
        == read_json(tmp_path / "out" / "runtime.json")["micro_tokens"]["next_token"]
    )
    assert any(f"micro-batches: up to {size} tokens (measured: 64 " in line for line in told.lines)
    # The result of a counted budget depends on inputs and seed alone.
    counted = run(tokens, tmp_path / "counted", config("2 steps", batch_tokens=256, micro_rows=0))
    assert counted.mixture.components[0].batches.micro_tokens == tokens.context


def test_a_slower_pace_than_measured_gives_the_other_precision_a_second_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first measurement is disturbed: bfloat16 looks slower there. What is found later is kept and repeated."""
    tokens, looks = write_tokens(tmp_path / "tokens"), [0]

    def seconds(self: Engine, part: MixtureComponent, batch: Batch, precision: str) -> float:
        looks[0] += 1
        disturbed = looks[0] <= 4
        return 1e-9 * batch.ids.shape[1] * (2.0 if (precision == "bfloat16") == disturbed else 1.0)

    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(runtime, "memory_shortage", lambda engine, batch: "")
    monkeypatch.setattr(dry_run, "memory_shortage", lambda engine, batch: "")
    monkeypatch.setattr(Engine, "time_microbatch", seconds)
    told = Told()
    engine = run(tokens, tmp_path / "out", config("2s", precision="auto", micro_rows=1), told)
    facts = read_json(tmp_path / "out" / "runtime.json")
    assert (facts["precision"], facts["precision_later"], facts["changed_at"]) == ("float32", "bfloat16", 10)
    assert any("tried again" in line and "going on in bfloat16" in line for line in told.lines)
    assert engine.precision == "bfloat16"
    again = make_engine(tokens, config("2s", precision="auto", micro_rows=1))
    decisions = [Decision(**row) for row in read_jsonl(tmp_path / "out" / "schedule.jsonl")]
    replay(again, decisions, runtime.RuntimeChoice(**facts))
    assert weights_equal(again.model, engine.model)


def test_auto_precision_measures_no_bfloat16_where_the_processor_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: False)
    told = Told()
    engine = run(
        write_tokens(tmp_path / "tokens"), tmp_path / "out", config("1 steps", precision="auto"), told
    )
    assert engine.precision == "float32"
    assert told.lines == ["  precision: float32 (this processor has no bfloat16 instructions)"]


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


def test_without_a_compiler_on_is_refused_and_auto_says_that_it_is_eager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(runtime, "_COMPILE_PAYS_SECONDS", 0.0)
    told, tokens = Told(), write_tokens(tmp_path / "tokens")
    with pytest.raises(TrainingError, match=r"train\.compile: .*no C\+\+ compiler(.|\n)*set it to auto"):
        run(tokens, tmp_path / "out", config("1 steps", compile="on"), told)
    assert not told.lines
    run(tokens, tmp_path / "out", config("1 steps", compile="auto"), told)
    assert "  eager mode: this machine has no C++ compiler" in told.lines
    assert runtime._obstacle_to_compiling(2) == "several processes train together"


@pytest.mark.parametrize(("gain", "chosen"), [(1.05, "float32"), (1.2, "bfloat16")])
def test_auto_rounds_only_where_that_is_a_tenth_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float, chosen: str
) -> None:
    engine = make_engine(write_tokens(tmp_path), config(precision="auto"))
    seconds = {"float32": 1.0, "bfloat16": 1 / gain}
    monkeypatch.setattr(engine, "time_microbatch", lambda component, sample, precision: seconds[precision])
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: True)
    component = engine.mixture.components[0]
    assert (
        runtime._choose_precision(engine, component, component.batches.step(0)[0], Told()).precision == chosen
    )


def test_auto_compiles_long_runs_only(tmp_path: Path) -> None:
    mixture = make_engine(write_tokens(tmp_path), config()).mixture
    chosen = [
        runtime._wants_compiling(config(budget, compile="auto"), mixture, 0.01)
        for budget in ("8m", "2h", "100 steps", "10000 steps", "100k tokens", "1M tokens", "1000 epochs")
    ]
    assert chosen == [False, True, False, True, False, True, True]


def test_a_log_that_lacks_steps_is_an_error(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    run(tokens, tmp_path / "out", config("3 steps", checkpoint_seconds=1e-6))
    (tmp_path / "out" / "log.jsonl").write_text(json.dumps({"step": 0, "seconds": 1}) + "\n")
    with pytest.raises(TrainingError, match="should list each of the 3 steps"):
        run(tokens, tmp_path / "out", config("6 steps"))
