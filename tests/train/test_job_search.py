"""The search for settings: a planted better setting wins, trials are made once, and the budget decides how many."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinsmith.train.job_search as search_module
from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import SilentProgress
from tinsmith.model.load import load_model
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.job_run import JobSettings, JobTrainer
from tinsmith.train.job_search import candidates_of, learn_job, passes_for, plan_trials
from tinsmith.train.job_watch import Outcome
from tiny_jobs import job, rows, section
from tiny_model import write_trained

GOOD, BAD = JobSettings("upper", 4e-3), JobSettings("upper", 1e-5)


class _Set:
    def __init__(self, tokens: int) -> None:
        self.tokens = SimpleNamespace(tokens=tokens)


class FakeTrainer:
    """Takes its time and gives outcomes by a rule; real runs are in the test below and in test_learn.py."""

    def __init__(self, examples: int, a_pass: float, **facts) -> None:
        self.job, self.progress = job(**facts), SilentProgress()
        self.visited, self.a_pass, self.runs = list(range(examples)), a_pass, []
        self.loss = lambda size, settings: abs(np.log(settings.learning_rate / 2e-4)) / size

    def seconds_of_pass(self, settings: JobSettings) -> float:
        return self.a_pass * (2 if settings.trainable == "all" else 1)

    def run(self, settings, budget, out, *, examples=0, kept=False):
        self.runs.append((examples, settings, budget))
        loss = self.loss(examples or len(self.visited), settings)
        if loss == np.inf:
            raise TrainingError("the loss is not finite")
        return "model", Outcome(loss, np.array([True, False])), 2.0


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch):
    """Return a maker of trainers under a clock that only trials move."""
    now = [0.0]
    monkeypatch.setattr(search_module.time, "monotonic", lambda: now[0])

    def make(examples: int, a_pass: float, **facts) -> FakeTrainer:
        made = FakeTrainer(
            examples, a_pass, **{"learning_rate": 0, "trainable": "", "budget": "20m", **facts}
        )
        made.learn, made.validation = (_Set(examples * 40), _Set(examples * 4))
        plain = made.run

        def run(settings, budget, out, *, examples=0, kept=False):
            passes = float(budget.split()[0]) if "epochs" in budget else 0.0
            now[0] += passes * made.seconds_of_pass(settings) * (examples or 0) / len(made.visited)
            return plain(settings, budget, out, examples=examples, kept=kept)

        made.run = run
        return made

    return make


def test_a_slow_machine_spends_its_minutes_on_the_run_itself(trainer, tmp_path: Path) -> None:
    slow = trainer(2000, 500.0)  # two passes fit
    learnt = learn_job(slow, tmp_path)
    assert len(slow.runs) == 1
    assert learnt.settings == candidates_of(slow.job.config)[0]
    assert 800 < float(learnt.budget.removesuffix("s")) < 1200


def test_some_minutes_of_a_longer_budget_give_the_learning_curve(trainer, tmp_path: Path) -> None:
    learnt = learn_job(trainer(2000, 200.0), tmp_path)  # five passes fit
    assert [trial.examples for trial in learnt.trials] == [50, 100]
    assert {trial.settings for trial in learnt.trials} == {learnt.settings}
    assert 750 < float(learnt.budget.removesuffix("s")) < 1100
    without = learn_job(
        trainer(2000, 200.0, curve=False, learning_rate=1e-4, trainable="upper"), tmp_path / "2"
    )
    assert not without.trials


def test_a_fast_machine_tries_settings_and_takes_the_planted_best(trainer, tmp_path: Path) -> None:
    fast = trainer(2000, 10.0)
    learnt = learn_job(fast, tmp_path)
    tried = {trial.settings for trial in learnt.trials}
    assert len(tried) == len(candidates_of(fast.job.config))
    assert learnt.settings == JobSettings("upper", 2e-4)
    # Fewer candidates on each larger part; those that are left have a point on every size.
    counts = [sum(trial.examples == size for trial in learnt.trials) for size in search_module.SIZES]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] >= 1
    assert {trial.examples for trial in learnt.trials if trial.settings == learnt.settings} == set(
        search_module.SIZES
    )
    assert learnt.budget == f"{passes_for(2000):g} epochs"


def test_a_killed_search_repeats_no_trial(trainer, tmp_path: Path) -> None:
    first = trainer(2000, 10.0)
    whole, plain = first.run, 3

    def run(*arguments, **options):
        if len(first.runs) == plain:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    first.run = run
    with pytest.raises(KeyboardInterrupt):
        learn_job(first, tmp_path)
    again = trainer(2000, 10.0)
    learnt = learn_job(again, tmp_path)
    trials = [run for run in again.runs if run[0]]
    assert len(trials) + plain == len(learnt.trials)
    assert len({(trial.examples, trial.settings) for trial in learnt.trials}) == len(learnt.trials)


def test_a_trial_that_diverges_loses(trainer, tmp_path: Path) -> None:
    fast = trainer(2000, 10.0)
    plain = fast.loss
    fast.loss = lambda size, settings: np.inf if settings.learning_rate == 2e-4 else plain(size, settings)
    learnt = learn_job(fast, tmp_path)
    assert learnt.settings.learning_rate != 2e-4
    assert any(trial.loss is None for trial in learnt.trials)


def test_budgets_in_passes_are_kept_to_the_letter(trainer, tmp_path: Path) -> None:
    assert learn_job(trainer(2000, 1.0, budget="3 epochs"), tmp_path).budget == "3 epochs"
    assert learn_job(trainer(2000, 1.0, passes=2.5), tmp_path / "2").budget == "2.5 epochs"
    assert learn_job(trainer(2000, 1.0, budget="9 steps"), tmp_path / "3").budget == "9 steps"


def test_few_examples_are_passed_over_more_often() -> None:
    assert passes_for(50) > passes_for(200) >= passes_for(10_000) >= 1


def test_a_plan_fits_its_seconds() -> None:
    def cost(size: int) -> float:
        return float(size)

    assert plan_trials(0.0, 2000, 6, cost) == []
    assert plan_trials(1e9, 40, 6, cost) == []  # too few examples for a part of them
    for seconds in (60, 200, 900, 2000, 5000):
        plan = plan_trials(seconds, 2000, 6, cost)
        assert sum(size * count for size, count in plan) <= seconds
        assert plan


def test_the_better_of_two_real_settings_wins(tmp_path: Path) -> None:
    base = write_trained(tmp_path / "base")
    trainer = JobTrainer(
        job(),
        load_model(base),
        load_tokenizer(base),
        (rows(60), rows(30, seed=1)),
        config=section(),
        seed=7,
        work=tmp_path / "work",
        progress=SilentProgress(),
    )
    search = search_module._Search(trainer, tmp_path / "work")
    assert search.halve([BAD, GOOD], [(40, 2)]) == GOOD
    bad, good = search.trials
    assert good.loss < bad.loss - 0.1
