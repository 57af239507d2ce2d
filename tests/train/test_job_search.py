"""The search for settings: a planted better setting wins, trials are made once, and the budget decides how many."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

import tinsmith.train.job_search as search_module
from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import SilentProgress
from tinsmith.model.load import load_model
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.job_run import JobSettings, JobTrainer
from tinsmith.train.job_search import (
    Learnt,
    TrialPlan,
    candidates_of,
    learn_job,
    passes_for,
    plan_runs,
    plan_trials,
)
from tinsmith.train.job_watch import Outcome
from tiny_jobs import job, rows, section
from tiny_model import write_trained

GOOD, BAD = JobSettings("upper", 4e-3), JobSettings("upper", 1e-5)


class _Set:
    def __init__(self, tokens: int) -> None:
        self.tokens = SimpleNamespace(tokens=tokens)


class FakeTrainer:
    """Takes its time and gives outcomes by a rule; real runs are in the test below and in test_learn.py."""

    parameters = 135_000_000

    def __init__(self, examples: int, a_pass: float, **facts) -> None:
        self.job, self.progress = job(**facts), SilentProgress()
        self.visited, self.a_pass, self.runs = list(range(examples)), a_pass, []
        self.start = nn.Linear(1, 1)
        self.correct, self.after = np.array([True, False]), 0.0
        self.loss = lambda size, settings: abs(np.log(settings.learning_rate / 6e-4)) / size

    def seconds_of_pass(self, settings: JobSettings) -> float:
        return self.a_pass * (1 if settings.trainable == "all" else 0.5)

    def seconds_of_look(self, settings: JobSettings) -> float:
        return self.seconds_of_pass(settings) / 30

    def seconds_of_calibration(self, settings: JobSettings) -> float:
        return self.after

    def validate_model(self, model, settings) -> Outcome:
        return Outcome(model.weight.mean().item(), np.array([True, False]))

    def run(self, settings, budget, out, *, examples=0, order=0, kept=False):
        self.runs.append((examples, settings, budget, order))
        loss = self.loss(examples or len(self.visited), settings)
        if loss == np.inf:
            raise TrainingError("the loss is not finite")
        model = nn.Linear(1, 1)
        nn.init.constant_(model.weight, float(order))
        return model, Outcome(loss, self.correct), 2.0


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

        def run(settings, budget, out, *, examples=0, order=0, kept=False):
            passes = float(budget.split()[0]) if "epochs" in budget else 0.0
            now[0] += passes * made.seconds_of_pass(settings) * (examples or 0) / len(made.visited)
            return plain(settings, budget, out, examples=examples, order=order, kept=kept)

        made.run = run
        return made

    return make


def learnt_now(made: FakeTrainer, out: Path, *, after: float = 0.0) -> Learnt:
    """Learn a job whose budget began so many seconds ago."""
    return learn_job(made, out, search_module.time.monotonic() - after)


def seconds(budgets: tuple[str, ...]) -> float:
    return sum(float(budget.removesuffix("s")) for budget in budgets)


def test_a_slow_machine_spends_its_minutes_on_one_run_of_the_upper_blocks(trainer, tmp_path: Path) -> None:
    slow = trainer(2000, 800.0)  # three passes over the upper blocks fit
    learnt = learnt_now(slow, tmp_path)
    assert len(slow.runs) == 1
    assert learnt.settings.trainable == "upper"
    assert 950 < seconds(learnt.budgets) < 1200


def test_what_calibration_takes_is_left_of_the_budget(trainer, tmp_path: Path) -> None:
    found = []
    for after in (0.0, 200.0):
        slow = trainer(2000, 800.0)
        slow.after = after
        found.append(seconds(learnt_now(slow, tmp_path / f"{after:g}").budgets))
    assert found[0] - found[1] > 150


def test_what_came_before_is_of_the_budget(trainer, tmp_path: Path) -> None:
    found = [
        seconds(learnt_now(trainer(2000, 800.0), tmp_path / f"{after:g}", after=after).budgets)
        for after in (0.0, 200.0)
    ]
    assert 150 < found[0] - found[1] < 250


def test_a_longer_budget_gives_a_learning_curve_and_several_runs(trainer, tmp_path: Path) -> None:
    learnt = learnt_now(trainer(2000, 160.0), tmp_path)
    assert [trial.examples for trial in learnt.trials] == [50, 100]
    assert {trial.settings for trial in learnt.trials} == {learnt.settings}
    assert learnt.settings.trainable == "upper"
    assert len(learnt.budgets) == 3
    assert 850 < seconds(learnt.budgets) < 1100
    without = learnt_now(
        trainer(2000, 120.0, curve=False, learning_rate=1e-4, trainable="all"), tmp_path / "2"
    )
    assert not without.trials


def test_runs_have_orders_of_their_own_and_end_as_their_mean(trainer, tmp_path: Path) -> None:
    made = trainer(2000, 60.0, curve=False, learning_rate=4e-4, trainable="all")
    made.loss = lambda size, settings: 2.0
    learnt = learnt_now(made, tmp_path)
    orders = [order for *_, order in made.runs]
    # A killed call runs nothing again that was finished.
    again = learnt_now(made, tmp_path)
    assert len(made.runs) == len(orders)
    assert again.model.weight.item() == learnt.model.weight.item()
    assert orders == list(range(len(learnt.budgets)))
    assert len(orders) > 2
    assert learnt.model.weight.item() == pytest.approx(np.mean(orders))
    # Where validation prefers one of the runs, it is the one.
    made.loss, made.correct = lambda size, settings: 0.0, np.array([True, True])
    assert learnt_now(made, tmp_path / "2").model.weight.item() in orders


def test_a_fast_machine_tries_settings_and_takes_the_planted_best(trainer, tmp_path: Path) -> None:
    fast = trainer(2000, 10.0)
    learnt = learnt_now(fast, tmp_path)
    tried = [trial for trial in learnt.trials if trial.settings != learnt.settings]
    assert {trial.examples for trial in tried} == {500}
    assert {trial.settings for trial in learnt.trials} == set(candidates_of(fast.job.config, fast.parameters))
    assert learnt.settings == JobSettings("upper", 6e-4)
    # The winner has a point on every size of the curve.
    assert {trial.examples for trial in learnt.trials if trial.settings == learnt.settings} == set(
        search_module.SIZES
    )
    assert learnt.budgets == ("6.5 epochs",) * search_module.MOST_RUNS


def test_where_the_upper_blocks_do_not_fit_into_memory_adapters_learn(trainer, tmp_path: Path) -> None:
    tight, plain = trainer(2000, 10.0), FakeTrainer.seconds_of_pass

    def measured(settings: JobSettings) -> float:
        if settings.trainable != "lora":
            raise TrainingError("memory ran out")
        return plain(tight, settings)

    tight.seconds_of_pass = measured
    assert learnt_now(tight, tmp_path).settings.trainable == "lora"
    tight.seconds_of_pass = lambda settings: measured(GOOD)
    with pytest.raises(TrainingError, match="memory ran out"):
        learnt_now(tight, tmp_path / "2")


def test_runs_are_compared_by_loss_and_right_answers(trainer, tmp_path: Path) -> None:
    made = trainer(2000, 60.0, curve=False, learning_rate=4e-4, trainable="upper")
    plain, right = made.run, np.array([True] * 9 + [False])

    def run(*arguments, order=0, **options):
        model, _, passes = plain(*arguments, order=order, **options)
        # The second run is bolder: its loss is a little higher, and far more of its answers are right.
        return model, Outcome(0.55, right) if order == 1 else Outcome(0.5, ~right), passes

    made.run = run
    made.validate_model = lambda model, settings: Outcome(0.9, ~right)
    assert learnt_now(made, tmp_path).model.weight.item() == 1.0


def test_a_later_run_that_diverges_is_left_out(trainer, tmp_path: Path) -> None:
    made = trainer(2000, 60.0, curve=False, learning_rate=4e-4, trainable="all")
    plain = made.run

    def run(*arguments, order=0, **options):
        if order == 1:
            raise TrainingError("the loss is not finite")
        return plain(*arguments, order=order, **options)

    made.run, made.loss = run, lambda size, settings: 2.0
    learnt = learnt_now(made, tmp_path)
    orders = [order for *_, order in made.runs]
    assert 1 not in orders
    assert learnt.model.weight.item() == pytest.approx(np.mean(orders))


def test_little_memory_allows_one_run(trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "available_bytes", lambda: 15 * FakeTrainer.parameters)
    little, said = trainer(2000, 60.0), []
    little.progress = SimpleNamespace(say=said.append)
    assert len(learnt_now(little, tmp_path).budgets) == 1
    assert any("memory does not hold the mean of several" in line for line in said)


def test_a_killed_search_repeats_no_trial(trainer, tmp_path: Path) -> None:
    first = trainer(2000, 10.0)
    whole, plain = first.run, 3

    def run(*arguments, **options):
        if len(first.runs) == plain:  # in the midst of the trials
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    first.run = run
    with pytest.raises(KeyboardInterrupt):
        learnt_now(first, tmp_path)
    again = trainer(2000, 10.0)
    learnt = learnt_now(again, tmp_path)
    trials = [run for run in again.runs if run[0]]
    assert len(trials) + plain == len(learnt.trials)
    assert len({(trial.examples, trial.settings) for trial in learnt.trials}) == len(learnt.trials)


def test_a_trial_that_diverges_loses(trainer, tmp_path: Path) -> None:
    fast = trainer(2000, 10.0)
    plain = fast.loss
    fast.loss = lambda size, settings: np.inf if settings.learning_rate == 6e-4 else plain(size, settings)
    learnt = learnt_now(fast, tmp_path)
    assert learnt.settings.learning_rate != 6e-4
    assert any(trial.loss is None for trial in learnt.trials)


def test_budgets_in_passes_are_kept_to_the_letter(trainer, tmp_path: Path) -> None:
    assert learnt_now(trainer(2000, 1.0, budget="3 epochs"), tmp_path).budgets == ("3 epochs",)
    assert learnt_now(trainer(2000, 1.0, passes=2.5), tmp_path / "2").budgets == ("2.5 epochs",)
    assert learnt_now(trainer(2000, 1.0, budget="9 steps"), tmp_path / "3").budgets == ("9 steps",)


def test_a_budget_that_leaves_little_to_learn_is_told(trainer, tmp_path: Path) -> None:
    for budget, after, told in (("100s", 70.0, ["21 of the 100"]), ("100s", 60.0, []), ("20m", 0.0, [])):
        made, said = trainer(2000, 800.0, budget=budget), []
        made.after, made.progress = after, SimpleNamespace(say=said.append)
        learnt_now(made, tmp_path / f"{budget}-{after}")
        warnings = [line for line in said if "warning" in line]
        assert len(warnings) == len(told)
        assert all(text in line for text, line in zip(told, warnings, strict=True))


def test_larger_models_learn_at_lower_rates() -> None:
    open_ = job(learning_rate=0, trainable="").config
    small, large = (candidates_of(open_, count)[0] for count in (135e6, 4 * 135e6))
    assert large.learning_rate == pytest.approx(small.learning_rate / 2)


def test_few_examples_are_passed_over_more_often() -> None:
    assert passes_for(300) > passes_for(800) > passes_for(2000) > passes_for(10_000) >= 1


def test_a_plan_fits_its_seconds() -> None:
    def cost(size: int) -> float:
        return float(size)

    assert plan_trials(100.0, 2000, 5, cost, curve=True) == TrialPlan()
    assert plan_trials(1e9, 40, 5, cost, curve=True) == TrialPlan()  # too few examples for a part of them
    assert plan_trials(1e9, 2000, 5, cost, curve=False) == TrialPlan((), 500, 5)
    for most in (400, 1500, 2000, 5000, 9000):
        plan = plan_trials(most, 2000, 5, cost, curve=True)
        spent = sum(plan.curve) + plan.size * plan.compared
        assert spent <= search_module.SHARE_OF_TRIALS * most
        assert plan.curve
        assert plan.compared in (0, 3, 4, 5)


def test_trials_on_few_examples_take_longer_an_example(trainer, tmp_path: Path) -> None:
    """Their steps are small: on 50 examples four make a step, and an example took twice as long as in steps of 16."""
    made = trainer(2000, 100.0)
    made.seconds_of_look = lambda settings: 0.0
    search = search_module._Search(made, tmp_path)
    few, usual = ((search._cost(GOOD, size) - 1.0) / (passes_for(size) * size) for size in (50, 500))
    assert few == pytest.approx(2 * usual)


def test_a_plan_of_runs_fits_its_seconds() -> None:
    assert plan_runs(5.0, 100.0, 10.0, 2000) == ["1.0s"]
    for most in (100.0, 500.0, 1000.0, 1500.0):
        budgets = plan_runs(most, 100.0, 5.0, 2000)
        each = most / len(budgets)
        assert float(budgets[0].removesuffix("s")) * 1.05 + 10 == pytest.approx(each, abs=0.1)
    assert plan_runs(1e5, 100.0, 5.0, 2000) == ["6.5 epochs"] * search_module.MOST_RUNS


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
    assert search.try_out([BAD, GOOD], TrialPlan((), 40, 2)) == GOOD
    bad, good = search.trials
    assert good.loss < bad.loss - 0.1
