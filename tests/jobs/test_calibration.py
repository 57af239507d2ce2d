"""Confidence: planted temperatures and thresholds are found, and errors of calibration are what they are defined as."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinsmith.jobs.calibration import (
    NOTHING_IS_SURE,
    answer_confidence,
    as_answered,
    calibrated_loss,
    confidence,
    error_by_chance,
    expected_calibration_error,
    fit_answers,
    fit_labels,
    fit_temperature,
    fit_word_weight,
    least_confidence,
    needs_a_person,
    reliability,
    share_curve,
)
from tinsmith.jobs.spec import Calibration, Job
from tinsmith.jobs.word_model import WordModel
from tinsmith.recipe import JobConfig

LABELS = ("a", "b", "c")


def job(**facts) -> Job:
    config = JobConfig(name="stance", kind="classify", answer="{stance}")
    return Job(config=config, labels=LABELS, calibration=Calibration(**facts))


def planted(temperature: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return scores that are `temperature` times too bold, and labels drawn from the true distribution."""
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 1.5, (count, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (generator.random(count)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    return logits * temperature, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_recovered(temperature: float) -> None:
    scores, truth = planted(temperature)
    assert fit_temperature(scores, truth) == pytest.approx(temperature, rel=0.05)
    # However bold, the same ranking is worth the same.
    assert calibrated_loss(scores, truth) == pytest.approx(calibrated_loss(*planted(1.0)), abs=1e-3)


def test_a_few_right_answers_do_not_make_certain() -> None:
    scores, truth = np.array([[2.0, 0.0, 0.0]] * 5), np.zeros(5, int)
    sure = confidence(
        job(temperature=fit_temperature(scores, truth)), dict(zip(LABELS, scores[0], strict=True)), ""
    )
    assert 0.79 < sure["a"] < 0.99


def test_a_prior_is_taken_off_only_where_it_helps() -> None:
    scores, truth = planted(1.0)
    tilt = np.array([3.0, 0.0, -3.0])
    fitted, notes = fit_labels(LABELS, scores + tilt, truth, tilt)
    assert fitted.prior_weight == 1.0
    assert fitted.temperature == pytest.approx(1.0, rel=0.05)
    assert fitted.prior == dict(zip(LABELS, tilt.tolist(), strict=True))
    assert not notes
    assert fit_labels(LABELS, scores, truth, tilt)[0].prior_weight == 0.0
    empty, notes = fit_labels(LABELS, np.empty((0, 3)), [], tilt)
    assert empty.temperature == 1.0
    assert "no validation rows" in notes[0]


def test_a_word_model_counts_as_much_as_it_knows() -> None:
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 3, 600)
    # Two witnesses who see the truth through noise of their own, the second twice as well, but timid.
    model, words = (3.0 * np.eye(3)[truth] + generator.normal(0, noise, (600, 3)) for noise in (3.0, 1.5))
    scores, told = (
        values - np.log(np.exp(values).sum(axis=1, keepdims=True)) for values in (model, 0.1 * words)
    )
    fitted, _ = fit_labels(LABELS, scores, truth, np.zeros(3), words=told)
    # The best weight is the ratio of what noise of equal spread leaves of each: 4, and 10 for the timid tone.
    assert fitted.word_weight == pytest.approx(40, rel=0.5)
    assert fit_word_weight(scores, generator.normal(0, 1, (600, 3)), truth) == 0.0
    assert fit_labels(LABELS, scores, truth, np.zeros(3))[0].word_weight == 0.0


def test_confidence_applies_the_word_model_by_hand() -> None:
    words = WordModel(labels=("c", "a", "b"), bias=(1.0, 0.0, 0.0), terms={"rise": (1.0, 0.0, 2.0, 0.0)})
    asked = job(temperature=2.0, word_weight=4.0).model_copy(update={"words": words})
    even = dict.fromkeys(LABELS, -1.0)
    scores = np.array([math.exp(4.0 / 2 * score) for score in (2.0, 0.0, 1.0)])
    assert list(confidence(asked, even, "A rise").values()) == pytest.approx(scores / scores.sum())
    assert confidence(asked, even, "Other words")["c"] > 0.5
    unasked = asked.model_copy(update={"calibration": Calibration()})
    assert list(confidence(unasked, even, "A rise").values()) == pytest.approx([1 / 3] * 3)


def test_confidence_applies_prior_and_temperature_by_hand() -> None:
    fitted = job(temperature=2.0, prior_weight=1.0, prior={"a": -1.0, "b": -2.0, "c": -3.0})
    sure = confidence(fitted, {"a": -1.0, "b": -1.0, "c": -1.0}, "")
    weights = [math.exp(0.0), math.exp(0.5), math.exp(1.0)]
    assert list(sure.values()) == pytest.approx([weight / sum(weights) for weight in weights])
    assert answer_confidence(fitted, math.exp(-2.0)) == pytest.approx(math.exp(-1.0))


def test_the_threshold_gives_the_most_answers_that_are_right_often_enough() -> None:
    sure, right = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0]
    assert least_confidence(sure, right, 0.75) == (0.6, [])
    assert least_confidence(sure, right, 0.9) == (0.8, [])
    assert least_confidence(sure, right, 0.6) == (0.0, [])  # all answers are right often enough
    assert least_confidence(sure, right, 0.0) == (0.0, [])
    least, notes = least_confidence([0.9, 0.8], [0, 1], 0.9)
    assert least == NOTHING_IS_SURE
    assert "even the surest answers are right at 0.50" in notes[0]
    assert needs_a_person(job(least_confidence=least), 1.0)
    assert not needs_a_person(job(least_confidence=0.6), 0.6)
    # Equal confidences are given or withheld together.
    assert [point.answered for point in share_curve([0.9, 0.9, 0.5], [1, 0, 1])] == pytest.approx(
        [2 / 3, 1.0]
    )


def test_generated_answers_get_a_temperature_of_their_own() -> None:
    generator = np.random.default_rng(1)
    chances = generator.uniform(0.05, 0.95, 4000)
    right = generator.random(4000) < chances
    fitted, sure, _ = fit_answers(2.0 * np.log(chances), right, share_right=0.8)
    assert fitted.temperature == pytest.approx(2.0, rel=0.1)
    np.testing.assert_allclose(sure, chances, atol=0.05)
    given = chances >= fitted.least_confidence
    assert right[given].mean() == pytest.approx(0.8, abs=0.02)


def test_values_get_odds_of_their_own_by_how_right_they_are() -> None:
    generator = np.random.default_rng(2)
    values = np.arange(4000) % 2 == 0
    # Long values are all unlikely, and yet their words are mostly right; "none" is as right as it is likely.
    told = np.where(values, generator.uniform(-12, -4, 4000), np.log(generator.uniform(0.6, 0.99, 4000)))
    odds = 0.3 * told + 3.0
    right = np.where(values, 1 / (1 + np.exp(-odds)), generator.random(4000) < np.exp(told))
    fitted, sure, _ = fit_answers(told, right, values=values)
    assert fitted.value_odds == pytest.approx((0.3, 3.0), rel=0.05)
    assert fitted.temperature == pytest.approx(1.0, rel=0.15)
    np.testing.assert_allclose(sure[values], right[values], atol=0.02)
    asked = job().model_copy(update={"calibration": fitted})
    assert answer_confidence(asked, math.exp(-8.0), value=True) == pytest.approx(
        1 / (1 + math.exp(-0.6)), abs=0.02
    )
    assert answer_confidence(asked, math.exp(-8.0)) < 0.01
    # Few values have none of their own; where likelier ones are no better, all have the mean.
    few, _, _ = fit_answers(told[:12], right[:12], values=values[:12])
    assert few.value_odds is None
    turned, sure, _ = fit_answers(told[values], 1 - right[values], values=values[values])
    assert turned.value_odds is not None
    assert turned.value_odds[0] == 0.0
    assert sure == pytest.approx(np.full(2000, (1 - right[values]).mean()), abs=0.01)


def test_calibration_error_is_that_of_bins_with_equal_numbers() -> None:
    sure, right = [0.1, 0.2, 0.3, 0.9], [0, 1, 0, 1]
    low, high = reliability(sure, right, bins=2)
    assert (low.answers, low.confidence, low.right) == (2, pytest.approx(0.15), 0.5)
    assert (high.answers, high.confidence, high.right) == (2, pytest.approx(0.6), 0.5)
    assert expected_calibration_error(sure, right, bins=2) == pytest.approx((0.35 + 0.1) / 2)
    assert expected_calibration_error([], []) == 0.0
    exact = np.full(4000, 0.7)
    assert error_by_chance(exact, draws=20) < 0.03 < error_by_chance(exact[:100], draws=20)


def test_asks_are_calibrated_by_what_is_answered_and_not_by_the_right_answer():
    config = JobConfig(name="fee", kind="answer", answer="{fee}")
    written, none = [-0.1, -0.2, -0.3, -0.4], [0.2, 0.7, 0.9, 0.1]
    said, right = as_answered(
        config,
        written,
        [True, True, True, True],
        none,
        [False, False, True, True],
        [False, True, True, False],
    )
    # A value by its own ln p and that there is one; "none" as surely as that is likely.
    assert said == pytest.approx([-0.1 + math.log(0.8), math.log(0.7), math.log(0.9), -0.4 + math.log(0.9)])
    # Right is what is said: the second says none of a value, the last gives a value where none is right.
    assert right.tolist() == [True, False, True, False]
    labels = config.model_copy(update={"kind": "classify", "several": True})
    said, right = as_answered(labels, written, [True, False, True, True], none, [False] * 4, [True] * 4)
    assert (said, right.tolist()) == (written, [True, False, True, True])
