"""One run on a job: it keeps what validation likes best, and adapters and frozen blocks end as plain models."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tinsmith.base.progress import SilentProgress
from tinsmith.model.load import load_model
from tinsmith.recipe import UPPER_SHARE
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train import job_run
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.engine import Engine
from tinsmith.train.job_run import GENERATION_COST, JobSettings, JobTrainer, examples_a_step
from tinsmith.train.job_scores import answer_scores
from tinsmith.train.job_watch import Outcome, Score
from tiny_jobs import job, rows, section
from tiny_model import write_trained


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trained(tmp_path_factory.mktemp("base") / "model")


def make(base: Path, work: Path, *, validated: int = 10, **facts) -> JobTrainer:
    return JobTrainer(
        job(**facts),
        load_model(base),
        load_tokenizer(base),
        (rows(30), rows(validated, seed=1)),
        config=section(),
        seed=7,
        work=work,
        progress=SilentProgress(),
    )


def copied(model) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("best", [0, 2, 3])  # a pass before the last, the last, their average
def test_a_run_ends_with_the_weights_that_validate_best(
    best: int, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, seen = make(base, tmp_path / "work"), []

    def validate(engine) -> Outcome:
        seen.append(copied(engine.model))
        found = len(seen) - 1 == best
        return Outcome(0.1 if found else 0.2, np.array([True, found]))

    monkeypatch.setattr(trainer, "validate", validate)
    model, outcome, passes = trainer.run(JobSettings("upper", 4e-3), "3 epochs", tmp_path / "run", kept=True)
    assert passes == pytest.approx(3)
    assert len(seen) == (5 if best == 0 else 4)  # the best weights, put back, are looked at again
    assert outcome is not None
    final = copied(model)
    for name, weight in seen[best].items():
        assert torch.equal(final[name], weight)
    other = seen[2 if best == 0 else 0]
    assert any(not torch.equal(final[name], weight) for name, weight in other.items())


@pytest.mark.parametrize(("kind", "still"), [("upper", True), ("all", False), ("lora", False)])
def test_every_kind_of_trainable_weights_learns(kind: str, still: bool, base: Path, tmp_path: Path) -> None:
    trainer = make(base, tmp_path / "work", validated=0)
    start = copied(trainer.start)
    model, outcome, _ = trainer.run(JobSettings(kind, 4e-3), "1 epochs", tmp_path / "run")
    assert outcome is None  # without a validation part
    moved = {name for name, weight in copied(model).items() if not torch.equal(weight, start[name])}
    assert any("layers.1" in name for name in moved)
    assert (not any("layers.0" in name or "embed" in name for name in moved)) == still
    assert all(weight.requires_grad for weight in model.parameters())
    # The starting weights are those of the next run.
    assert all(torch.equal(weight, start[name]) for name, weight in copied(trainer.start).items())


def test_each_run_has_an_order_of_its_own(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, orders = make(base, tmp_path / "work", validated=0), []
    plain = trainer._engine

    def engine(settings, config, learn):
        orders.append(learn.rows)
        return plain(settings, config, learn)

    trainer.seconds_of_pass(JobSettings("upper", 4e-3))
    monkeypatch.setattr(trainer, "_engine", engine)
    for number, order in enumerate((0, 1, 2, 1)):
        trainer.run(JobSettings("upper", 4e-3), "1 steps", tmp_path / f"run{number}", order=order)
    first, second, third, again = map(list, orders)
    assert again == second
    assert sorted(first) == sorted(second) == sorted(third)
    assert first != second != third != first


def test_the_pace_is_that_of_steps_with_their_updates(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update that takes a quarter of a second takes it in each step of a pass."""
    update, rates = Engine.update, []

    def slow(engine: Engine, learning_rate: float) -> None:
        rates.append(learning_rate)
        time.sleep(0.25)
        update(engine, learning_rate)

    monkeypatch.setattr(Engine, "update", slow)
    trainer = make(base, tmp_path / "work", validated=0)
    steps = 30 / examples_a_step(30)
    assert trainer.seconds_of_pass(JobSettings("upper", 4e-3)) > 0.2 * steps
    assert rates == [0.0, 0.0]


def test_few_passes_make_smaller_steps(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [examples_a_step(count) for count in (30, 100, 1254)] == [4, 6, 16]
    assert [examples_a_step(1254, passes) for passes in (0.5, 1.8, 4.0)] == [4, 8, 16]
    seen: list[float] = []
    monkeypatch.setattr(job_run, "examples_a_step", lambda count, passes=math.inf: seen.append(passes) or 4)
    trainer, settings = make(base, tmp_path / "work", validated=0), JobSettings("upper", 4e-3)
    a_pass = trainer.seconds_of_pass(settings)
    for number, (budget, passes) in enumerate(
        {"2 epochs": 2.0, "1 steps": math.inf, "0.3s": 0.3 / a_pass}.items()
    ):
        trainer.run(settings, budget, tmp_path / f"run{number}")
        assert seen[-1] == pytest.approx(passes)


def test_a_finished_model_is_read_above_the_states_of_its_runs(base: Path, tmp_path: Path) -> None:
    trainer, settings = make(base, tmp_path / "work"), JobSettings("upper", 4e-3)
    model, during, _ = trainer.run(settings, "1 epochs", tmp_path / "run")
    with trainer.reading(settings) as lower:
        assert lower is not None
        assert lower.ready
    with trainer.reading(JobSettings("all", 4e-3)) as lower:
        assert lower is None
    found = trainer.validate_model(model, settings)
    assert during is not None
    assert found is not None
    assert found.loss == pytest.approx(during.loss, rel=1e-5)
    whole = trainer.validate_model(model, JobSettings("all", 4e-3))
    assert whole is not None
    assert whole.loss == pytest.approx(found.loss, rel=1e-4)


def test_the_loss_of_written_answers_is_that_of_a_token(base: Path, tmp_path: Path) -> None:
    trainer = make(base, tmp_path / "work", kind="write")
    outcome = trainer.validate_model(copy.deepcopy(trainer.start), JobSettings("all", 1e-3))
    model = copy.deepcopy(trainer.start)
    isolate_sequences(model)
    scored = answer_scores(model, trainer.validation, trainer.none)
    assert outcome is not None
    assert outcome.loss == pytest.approx(
        -scored.log_probabilities.sum() / int(trainer.validation.tokens.marks.sum()), rel=1e-5
    )


def test_earlier_weights_must_be_clearly_better() -> None:
    later = Score(0.20, 0.60, 400)
    assert Score(0.19, 0.62, 400).beats(later)
    assert not Score(0.19, 0.61, 400).beats(later)  # by chance
    assert not Score(0.21, 0.62, 400).beats(later)


def test_more_right_answers_outweigh_a_bolder_loss(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, said = make(base, tmp_path / "work"), []
    outcomes = [Outcome(0.1, np.array([True, False])), Outcome(0.2, np.array([True, True]))]
    # The first pass, the last, and the average.
    monkeypatch.setattr(trainer, "validate", lambda engine: outcomes[min(len(said), 1)])
    monkeypatch.setattr(trainer.progress, "say", said.append, raising=False)
    _, outcome, _ = trainer.run(JobSettings("upper", 4e-3), "2 epochs", tmp_path / "run", kept=True)
    assert outcome is outcomes[1]


def test_reading_takes_what_was_measured(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobTrainer, "_measured_reading", lambda self, engine: 0.5)
    settings = JobSettings("upper", 4e-3)
    labels = make(base, tmp_path / "labels")
    assert labels.validation is not None
    tokens = int(labels.validation.groups().lengths.sum())
    assert labels.seconds_of_look(settings) == 0.5 * tokens
    # In the end the labels that part later are read too, after each prompt and through all blocks.
    assert labels.choices is not None
    assert len(labels.choices.tree.branches) > 1
    again = labels.seconds_of_calibration(settings) - labels.seconds_of_look(settings)
    assert again == pytest.approx(0.5 * tokens / UPPER_SHARE)
    # What is written token by token goes through the frozen blocks too.
    written = make(base, tmp_path / "written", kind="write")
    more = written.seconds_of_calibration(settings) - written.seconds_of_look(settings)
    assert more == pytest.approx(0.5 * GENERATION_COST / UPPER_SHARE)
    whole = written.seconds_of_calibration(JobSettings("all", 4e-3)) - written.seconds_of_look(settings)
    assert whole == pytest.approx(0.5 * GENERATION_COST)
    # A short budget keeps a tenth for it: four tokens of half a second through thrice the blocks are six seconds.
    brief = make(base, tmp_path / "brief", kind="write", budget="60s")
    assert brief.tokens_of_generation(settings) == 4
    assert brief.seconds_of_calibration(settings) - brief.seconds_of_look(settings) == pytest.approx(6.0)


def test_states_are_kept_only_where_they_are_read_again(base: Path, tmp_path: Path) -> None:
    for budget, kept in (("0.001s", False), ("1h", True)):
        work = tmp_path / budget
        trainer = make(base, work, budget=budget)
        trainer.seconds_of_pass(JobSettings("upper", 4e-3))
        assert (work / "lower-learn" / "states.bin").exists() == kept


def test_the_validation_part_is_bounded(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinsmith.train.job_run.TOKENS_VALIDATED", 100)
    trainer = make(base, tmp_path / "work", validated=30)
    assert trainer.validation is not None
    assert trainer.validation.tokens.tokens == len(trainer.validation.tokens.ids) <= 100
    assert len(trainer.drawn) == len(trainer.validation) < 10
    drawn = [rows(30, seed=1)[row]["input"] for row in trainer.drawn]
    assert sorted(ask.text for ask in trainer.validation.asks) == sorted(drawn)


def test_a_part_of_the_examples_is_drawn_from_all_of_them(base: Path, tmp_path: Path) -> None:
    trainer = make(base, tmp_path / "work")
    part = trainer.learn.of_rows(set(trainer.visited[:5]))
    assert len(part) == 5
    assert sorted(part.rows) != list(range(5))
    for number in range(5):
        whole = trainer.learn.rows.index(part.rows[number])
        assert part.tokens.sequence(number)[0].tolist() == trainer.learn.tokens.sequence(whole)[0].tolist()
