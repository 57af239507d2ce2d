from __future__ import annotations

import math

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.recipe import Budget, Recipe, TrainConfig
from tinsmith.stages.train import STAGE
from tinsmith.train.budget import Pace, TrainProgress, cosine, progress_of, rate_at, trapezoid


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0, 0), (0.05, 0.5), (0.1, 1), (0.4, 1), (0.5, 1), (0.75, 0.5), (1, 0), (1.2, 0)],
)
def test_rate_rises_stays_and_falls_to_zero(progress: float, expected: float) -> None:
    assert trapezoid(progress, warmup=0.1, decay=0.5) == pytest.approx(expected)


def test_no_warmup_and_no_decay_are_constant() -> None:
    assert [trapezoid(p, warmup=0, decay=0) for p in (0, 0.5, 1)] == [1, 1, 1]


def test_a_schedule_that_falls_before_it_has_risen_is_refused_before_anything_runs() -> None:
    def check(**section: object) -> None:
        data = {"name": "r", "ingest": {"sources": ["."]}, "train": section}
        STAGE.check(Recipe.model_validate(data))

    check(warmup=0.5, decay=0.5)
    check(warmup=0.6, schedule="cosine")
    with pytest.raises(
        RecipeError, match=r"train\.decay: warmup 0\.6 and decay 0\.5 are more than the whole"
    ):
        check(warmup=0.6)


def test_long_warmup_and_decay_meet_below_the_peak() -> None:
    assert trapezoid(0.5, warmup=0.8, decay=1.0) == pytest.approx(0.5)


def test_counting_budgets_end_when_reached() -> None:
    steps, tokens, epochs = (Budget.parse(text) for text in ("4 steps", "1k tokens", "2 epochs"))
    assert progress_of(steps, 1, TrainProgress(), 10, 9.0) == 1 / 8
    assert progress_of(steps, 1, TrainProgress(3, 30, 9.0), 10, 9.0) == 7 / 8
    assert progress_of(steps, 1, TrainProgress(4, 40, 9.0), 10, 9.0) is None
    assert progress_of(tokens, 1, TrainProgress(1, 900), 200, 0) == 1.0
    assert progress_of(tokens, 1, TrainProgress(1, 1000), 200, 0) is None
    assert progress_of(epochs, 500, TrainProgress(1, 999), 100, 0) is not None
    assert progress_of(epochs, 500, TrainProgress(1, 1000), 100, 0) is None


def test_time_budgets_end_within_half_a_step() -> None:
    budget = Budget.parse("100s")
    assert progress_of(budget, 1, TrainProgress(9, 9, 90.0), 1, 20.0) is None
    assert progress_of(budget, 1, TrainProgress(9, 9, 89.9), 1, 20.0) == pytest.approx(0.999)
    assert progress_of(budget, 1, TrainProgress(), 1, 1000.0) == 1.0


def test_stopwatch_follows_the_pace_and_forgives_one_hiccup() -> None:
    watch = Pace(1.0)
    assert watch.estimate(10) == 10
    watch.record(10, 1.0)
    assert watch.estimate(10) == pytest.approx(1.0)
    for seconds in (1.0, 50.0, 1.0):
        watch.record(10, seconds)
    assert watch.estimate(20) == pytest.approx(2.0)
    for _ in range(5):
        watch.record(10, 3.0)
    assert watch.estimate(10) == pytest.approx(3.0)


def test_cosine_rises_and_falls_to_zero() -> None:
    found = [cosine(p, warmup=0.2, decay=0.5) for p in (0, 0.1, 0.2, 0.6, 1)]
    assert found == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert cosine(0.4, warmup=0.2, decay=0) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_a_rise_to_the_end_has_no_fall() -> None:
    assert [cosine(p, warmup=1.0, decay=0.5) for p in (0.5, 1.0)] == [0.5, 1.0]
    assert cosine(0.0, warmup=0.0, decay=0.5) == 1.0


def test_a_budget_of_tokens_is_passed_by_the_middle_of_its_steps() -> None:
    tokens, epochs = Budget.parse("1k tokens"), Budget.parse("2 epochs")
    assert progress_of(tokens, 1, TrainProgress(1, 500), 200, 0) == 0.6
    assert progress_of(epochs, 500, TrainProgress(1, 500), 200, 0) == 0.6
    assert progress_of(Budget.parse("100s"), 1, TrainProgress(1, 500, 50.0), 200, 20.0) == 0.6
    # Every budget allows one step.
    assert progress_of(tokens, 1, TrainProgress(0, 1000), 200, 0) == 1.0


def test_the_section_names_its_schedule() -> None:
    section = {"learning_rate": 2.0, "warmup": 0.0, "decay": 0.5}
    rates = {
        name: rate_at(0.75, TrainConfig.model_validate({**section, "schedule": name}))
        for name in ("trapezoid", "cosine")
    }
    assert rates == pytest.approx({"trapezoid": 1.0, "cosine": 1 + math.cos(0.75 * math.pi)})
