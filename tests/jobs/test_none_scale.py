"""What the first look says of a passage counts beside the language model's "none", as much as validation shows."""

from __future__ import annotations

import numpy as np
import pytest

from tinsmith.jobs.ask import Ask
from tinsmith.jobs.none_scale import NoneScale, fit_none_scale


def drawn(look: float, count: int = 400) -> tuple[list[Ask], list[float]]:
    """Draw asks about two fields, and what a weak model tells; the look's score parts them by so many nats."""
    draw = np.random.default_rng(3)
    asks, told = [], []
    for number in range(count):
        held = bool(draw.integers(2))
        score = draw.normal(look if held else -look, 1.0)
        asks.append(Ask("", "", "x" if held else "none", ("law", "date")[number % 2], look=score))
        told.append(float(1 / (1 + np.exp(draw.normal(0.5 if held else -0.5, 1.0)))))
    return asks, told


def right(scale: NoneScale, asks: list[Ask], told: list[float]) -> float:
    pairs = zip(asks, told, strict=True)
    return float(
        np.mean([(scale.chance(chance, ask) > 0.5) == (ask.answer == "none") for ask, chance in pairs])
    )


def test_a_look_that_knows_more_than_the_model_decides() -> None:
    asks, told = drawn(look=2.0)
    scale = fit_none_scale(asks, told)
    assert scale.look > 0
    assert right(NoneScale(), asks, told) < 0.75
    assert right(scale, asks, told) > 0.95
    assert set(scale.bias) == {"law", "date"}


def test_a_look_that_knows_nothing_changes_nothing() -> None:
    asks, told = drawn(look=0.0)
    assert fit_none_scale(asks, told) == NoneScale()
    assert [NoneScale().chance(chance, ask) for ask, chance in zip(asks, told, strict=True)] == pytest.approx(
        told
    )
    one_kind = [ask for ask in asks if ask.answer == "none"]
    assert fit_none_scale(one_kind, told[: len(one_kind)]) == NoneScale()


def test_certain_models_and_high_scores_give_numbers() -> None:
    scale = NoneScale(model=50.0, look=50.0, bias={"law": 3.0})
    assert scale.chance(1.0, Ask("", "", field="law")) == pytest.approx(1)
    assert 0 <= scale.chance(0.0, Ask("", "", field="other", look=100.0)) < 1e-9
