from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import tinsmith.train.loop as loop_module
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.tokens.batches import Batch
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.train.budget import Decision
from tinsmith.train.engine import Engine
from tinsmith.train.journal import Journal, summarise
from tinsmith.train.loop import fit, replay
from tinsmith.train.loss_spikes import (
    PAST,
    REACH,
    Diverged,
    Rollback,
    caused_by_data,
    detect_spike,
    is_skipped,
    not_finite,
    rate_factor,
    rollback_step,
)
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives.next_token import NextToken
from tinsmith.train.runtime import RuntimeChoice
from tiny_training import VOCABULARY, config, make_batches, tiny_llama, weights_equal, write_tokens


class Poisoned(NextToken):
    """Learn the next token, but change the loss of a batch that holds one of the sequences `bad`."""

    def __init__(self, bad: set[int], change: Callable[[Tensor], Tensor]) -> None:
        self.bad, self.change = bad, change

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        loss, further = super().loss(model, batch)
        return (self.change(loss) if self.bad & set(batch.numbers) else loss), further


class Told(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


class Killed(BaseException):
    """What no handler catches, as kill -9."""


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk's cache alone: no power fails here, and dozens of checkpoints are written."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    return write_tokens(tmp_path_factory.mktemp("tokens"), documents=150)


def numbers_of(tokens: TokenSet, *steps: int) -> set[int]:
    batches = make_batches(tokens, config())
    return {number for step in steps for batch in batches.step(step) for number in batch.numbers}


def run(
    tokens: TokenSet,
    out: Path,
    bad_steps: tuple[int, ...] = (),
    change: Callable[[Tensor], Tensor] = lambda loss: loss * float("nan"),
    told: Told | None = None,
    **section: Any,
) -> Engine:
    out.mkdir(exist_ok=True)
    wanted = config(**{"budget": "20 steps", "micro_rows": 8, **section})
    objective = Poisoned(numbers_of(tokens, *bad_steps), change)
    part = MixtureComponent("next_token", objective, make_batches(tokens, wanted))
    engine = Engine(tiny_llama(), wanted, Mixture([part]), seed=7)
    fit(engine, out=out, progress=told or Told())
    return engine


def log_of(out: Path) -> list[dict[str, Any]]:
    return [row | {"seconds": 0, "loader_seconds": 0} for row in read_jsonl(out / "log.jsonl")]


def test_a_lasting_jump_is_trouble_and_one_odd_batch_is_not() -> None:
    calm = (3 + 0.1 * np.random.default_rng(0).standard_normal(60)).tolist()

    def found(*latest: float, before: list[float] = calm, factor: float = 8) -> bool:
        return detect_spike([*before, *latest], 70, factor=factor, rate=1.0) is not None

    assert found(5, 5, 5)
    assert found(3, 5, 5)
    assert not found(3, 3, 9)
    assert not found(3.5, 3.5, 3.5)
    assert found(3.5, 3.5, 3.5, factor=3)
    assert not found(5, 5, 5, factor=0)
    assert not found(5, 5, 5, before=calm[:19])
    # A very even loss has no spread to speak of: then a rise counts from 8 times 0.05 nats on.
    assert not found(1.3, 1.3, 1.3, before=[1.0] * 50)
    assert found(1.5, 1.5, 1.5, before=[1.0] * 50)
    trouble = detect_spike([*calm, 5.0, 5.0, 6.0], 70, factor=8, rate=1.0)
    assert trouble is not None
    assert (trouble.step, trouble.first) == (70, 67)
    assert "jumped from about 3" in trouble.what
    assert "to 6 at step 70" in trouble.what


def test_a_jump_is_measured_against_the_fifty_losses_before() -> None:
    def rise(*losses: float, step: int = 99, factor: float = 1.0) -> float | None:
        found = detect_spike(losses, step, factor=factor, rate=1.0)
        return None if found is None else found.rise

    # Of the older losses none counts, and of the latest only three.
    assert rise(*[9.0] * 40, *[1.0] * 50, 2.0, 2.0, 2.0) == 1.0
    assert rise(*[1.0] * 20, 2.0, 2.0, 2.0) == 1.0
    assert rise(*[1.0] * 19, 2.0, 2.0, 2.0) is None
    # Half of them lie 0.5 from the median: a spread of 1.4826 times 0.5.
    uneven = [1.0, 2.0] * 25
    assert rise(*uneven, 2.25, 2.25, 2.25) == 0.75
    assert rise(*uneven, 2.24, 2.24, 2.24) is None
    # As much as the floor is not yet a jump.
    assert rise(*[0.0] * 50, 0.05, 0.05, 0.05) is None
    assert rise(*[0.0] * 50, 0.0501, 0.0501, 0.0501) == pytest.approx(0.0501)
    early = detect_spike([1.0] * 20 + [2.0] * 3, 2, factor=1.0, rate=0.25)
    assert early is not None
    assert (early.first, early.step, early.seconds) == (0, 2, 0.0)
    assert "it is 0.25" in early.next_step


def test_a_step_that_rises_half_as_much_again_shows_damage() -> None:
    diverged = Diverged("jump", step=50, first=47, rate=1.0, rise=2.0)
    assert caused_by_data(diverged, 3.0, 3.99)
    assert not caused_by_data(diverged, 3.0, 4.0)
    assert caused_by_data(Diverged("nan", step=5, first=5, rate=1.0), 3.0, 99.0)  # without a rise
    assert rollback_step(diverged) == 37
    assert rollback_step(Diverged("jump", step=5, first=5, rate=1.0)) == 0
    assert (PAST, REACH) == (53, 13)


def test_what_is_not_finite_is_named() -> None:
    assert not_finite(1.0, 2.0, 3, rate=1.0) is None
    for loss, norm, name in ((float("nan"), 1.0, "loss"), (1.0, float("inf"), "gradient")):
        trouble = not_finite(loss, norm, 3, rate=0.5)
        assert trouble is not None
        assert str(trouble).startswith(f"train: the {name} is not finite at step 3\n")
        assert "lower train.learning_rate (it is 0.5)" in str(trouble)


def test_each_return_halves_the_rate_from_its_place_on() -> None:
    rollbacks = [Rollback(30, "", 20, {"30": 1}, 0.0), Rollback(25, "", 15, {"24": 1, "25": 1}, 0.0)]
    assert [rate_factor(step, rollbacks) for step in (14, 15, 19, 20, 99)] == [1, 0.5, 0.5, 0.25, 0.25]
    assert [step for step in range(40) if is_skipped(step, rollbacks)] == [24, 25, 30]


def test_a_run_goes_back_and_ends_with_the_same_bits_however_it_is_killed(
    tokens: TokenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    plain = run(tokens, tmp_path / "plain", (14,), told=told, checkpoint_seconds=1e9)
    assert any(
        "the loss is not finite at step 14: back to step 4, from there on at half the rate" in line
        for line in told.lines
    )
    rows = log_of(tmp_path / "plain")
    assert [row["step"] for row in rows] == [*range(14), *range(15, 20)]
    untroubled = run(tokens, tmp_path / "untroubled", (), checkpoint_seconds=1e9)
    usual = log_of(tmp_path / "untroubled")
    assert rows[:4] == usual[:4]
    assert [row["learning_rate"] for row in rows[4:14]] == [row["learning_rate"] / 2 for row in usual[4:14]]
    assert not weights_equal(plain.model, untroubled.model)
    # With a checkpoint after each step it goes back less far, which must not show in the result.
    often = run(tokens, tmp_path / "often", (14,), checkpoint_seconds=1e-9)
    assert weights_equal(often.model, plain.model)
    assert log_of(tmp_path / "often") == rows
    figures = summarise(tmp_path / "often", {"next_token": 1000})
    left_out = make_batches(tokens, config()).step_tokens(14)
    assert (figures["rollbacks"], figures["skipped_steps"], figures["skipped_tokens"]) == (1, 1, left_out)
    # Killed between the removal of checkpoints and the journal's line, right after it, and when going on.
    whole, out = Journal.go_back, tmp_path / "killed"

    def before(self: Journal, rollback: Rollback) -> None:
        raise Killed

    def after(self: Journal, rollback: Rollback) -> None:
        whole(self, rollback)
        raise Killed

    for replacement in (before, after):
        monkeypatch.setattr(Journal, "go_back", replacement)
        with pytest.raises(Killed):
            run(tokens, out, (14,), checkpoint_seconds=1e-9)
    monkeypatch.undo()
    killed = run(tokens, out, (14,), checkpoint_seconds=1e-9)
    assert weights_equal(killed.model, plain.model)
    assert log_of(out) == rows
    assert len(list(read_jsonl(out / "rollbacks.jsonl"))) == 1


def test_a_jump_leaves_out_the_steps_that_brought_it(
    tokens: TokenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, latest = Engine.gradients, [0]

    def gradients(engine: Engine, number: int) -> dict[str, float]:
        latest[0] = number
        return whole(engine, number)

    def update(engine: Engine, learning_rate: float) -> None:
        engine.optimizers.step(learning_rate)
        if latest[0] == 23:  # a step that harms the weights
            with torch.no_grad():
                engine.model.model.embed_tokens.weight.mul_(40)

    monkeypatch.setattr(Engine, "gradients", gradients)
    monkeypatch.setattr(Engine, "update", update)
    told = Told()
    arguments = {"told": told, "budget": "28 steps", "checkpoint_seconds": 1e9, "learning_rate": 1e-4}
    run(tokens, tmp_path / "out", **arguments)
    assert [row["step"] for row in read_jsonl(tmp_path / "out" / "log.jsonl")] == [*range(22), 26, 27]
    (row,) = read_jsonl(tmp_path / "out" / "rollbacks.jsonl")
    assert (row["step"], row["back_to"], sorted(row["skipped"])) == (25, 12, ["22", "23", "24", "25"])
    assert any("back to step 12" in line and "without step 22 to 25" in line for line in told.lines)
    run(tokens, tmp_path / "off", **{**arguments, "spike": 0})
    assert not (tmp_path / "off" / "rollbacks.jsonl").exists()


def test_data_that_are_harder_than_those_before_are_no_trouble(tmp_path: Path) -> None:
    """A long, even document ends the first epoch; the second begins with everybody's openings again."""
    writer, generator = ShardWriter(tmp_path), np.random.default_rng(0)
    for number in range(60):
        writer.add(f"d{number}", 0, generator.integers(3, VOCABULARY, 64).tolist(), [1] * 64)
    for part in range(1, 441):
        writer.add("log", part, [7] * 64, [1] * 64)
    writer.close(range(500), {"context": 64, "vocabulary": VOCABULARY})
    tokens, told = TokenSet(tmp_path), Told()
    run(tokens, tmp_path / "out", told=told, budget="135 steps", checkpoint_seconds=1e9)
    losses = [row["loss"] for row in read_jsonl(tmp_path / "out" / "log.jsonl")]
    assert any(detect_spike(losses[: at + 1], at, factor=8, rate=1.0) for at in range(125, 135)), (
        "nothing jumps"
    )
    assert not told.lines or not any("back to step" in line for line in told.lines)
    assert len(losses) == 135


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_step_can_be_read_again(tokens: TokenSet, dropout: float) -> None:
    wanted = config(micro_rows=8)
    part = MixtureComponent("next_token", NextToken(), make_batches(tokens, wanted))
    model = tiny_llama()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = dropout
    engine = Engine(model, wanted, Mixture([part]), seed=7)
    loss = engine.gradients(3)["loss"]
    before = [parameter.grad.clone() for parameter in engine.model.parameters()]
    assert engine.loss(3) == pytest.approx(loss, rel=1e-6)
    after = [parameter.grad for parameter in engine.model.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("rollbacks", [0, 2])
def test_trouble_that_stays_stops_the_run_with_a_clear_word(
    tokens: TokenSet, tmp_path: Path, rollbacks: int
) -> None:
    ending = r", after 2 rollbacks" if rollbacks else ""
    with pytest.raises(TrainingError, match=rf"the loss is not finite at step 5{ending}\n  -> lower train"):
        run(tokens, tmp_path / "out", (3, 4, 5) if rollbacks else (5,), rollbacks=rollbacks)
    assert (tmp_path / "out" / "rollbacks.jsonl").exists() == bool(rollbacks)


def test_time_thrown_away_is_spent_and_the_schedule_replays(
    tokens: TokenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    # Three looks at the clock make a step, so each takes two hundredths of a second.
    monkeypatch.setattr(loop_module.time, "perf_counter", lambda: next(ticks) / 100)
    engine = run(tokens, tmp_path / "out", (5,), budget="0.4s", checkpoint_seconds=0.1)
    rows = list(read_jsonl(tmp_path / "out" / "log.jsonl"))
    (back,) = read_jsonl(tmp_path / "out" / "rollbacks.jsonl")
    assert back["seconds"] == pytest.approx(5 * rows[0]["seconds"], rel=0.5)
    assert sum(row["seconds"] for row in rows) + back["seconds"] == pytest.approx(0.4, rel=0.1)
    decisions = [Decision(**row) for row in read_jsonl(tmp_path / "out" / "schedule.jsonl")]
    assert 5 not in [decision.step for decision in decisions]
    wanted = config("1s", micro_rows=8)
    part = MixtureComponent("next_token", NextToken(), make_batches(tokens, wanted))
    again = Engine(tiny_llama(), wanted, Mixture([part]), seed=7)
    replay(again, decisions, RuntimeChoice(**read_json(tmp_path / "out" / "runtime.json")))
    assert weights_equal(again.model, engine.model)


def test_trouble_leaves_weights_and_gradients_untouched(tokens: TokenSet, tmp_path: Path) -> None:
    wanted = config()
    part = MixtureComponent("next_token", NextToken(), make_batches(tokens, wanted))
    engine = Engine(tiny_llama(), wanted, Mixture([part]), seed=7)
    with torch.no_grad():
        engine.model.model.norm.weight[0] = float("nan")
    with pytest.raises(
        TrainingError, match=r"the loss is not finite at step 3\n  -> lower train\.learning_rate"
    ):
        engine.gradients(3)
    assert all(parameter.grad is None for parameter in engine.model.parameters())
