"""The thresholds of "none" find as many values as they can with few false ones, each field by its own chances."""

from __future__ import annotations

import numpy as np
import pytest

from tinsmith.jobs.none_thresholds import EITHER, FALSE_VALUES, NoneChances, fit_none


def of_one(**facts) -> float:
    return fit_none({"": NoneChances(**facts)})[""]


def spread(low: float, high: float, count: int) -> list[float]:
    return np.linspace(low, high, count).tolist()


def test_the_threshold_lies_between_texts_with_a_value_and_without() -> None:
    assert 0.3 < of_one(present=spread(0.0, 0.3, 40), absent=spread(0.7, 1.0, 40)) < 0.7
    # A model that says none too readily.
    assert 0.8 < of_one(present=spread(0.1, 0.8, 40), absent=spread(0.82, 1.0, 40)) < 0.82
    assert of_one(present=[0.1, 0.2]) == EITHER
    assert of_one(absent=[0.1, 0.2]) == EITHER


@pytest.mark.parametrize("asked", [1, 4])
def test_few_inputs_without_a_value_are_given_one_however_many_passages_are_asked(asked: int) -> None:
    absent = spread(0.3, 1.0, 400)
    threshold = of_one(present=spread(0.0, 0.6, 3000), absent=absent, asked=asked)
    share = float((np.array(absent) <= threshold).mean())
    assert 0.5 * FALSE_VALUES < 1 - (1 - share) ** asked <= FALSE_VALUES + 0.01


def test_a_field_that_is_told_apart_does_not_suffer_from_one_that_is_not() -> None:
    """One threshold for all fields gave a value of one in six, where each by its own gives most."""
    clear = NoneChances(present=spread(0.0, 0.5, 50), absent=spread(0.8, 1.0, 50))
    vague = NoneChances(present=spread(0.0, 1.0, 50), absent=spread(0.0, 1.0, 50))
    found = fit_none({"clear": clear, "vague": vague})
    assert 0.5 < found["clear"] < 0.8
    assert found["vague"] < 0.15


def test_a_field_that_every_input_has_is_given_freely() -> None:
    always = NoneChances(present=spread(0.0, 0.9, 50), elsewhere=spread(0.5, 1.0, 50))
    rarely = NoneChances(present=spread(0.0, 0.3, 10), absent=spread(0.2, 1.0, 50))
    found = fit_none({"always": always, "rarely": rarely})
    assert found["always"] > 0.8
    assert found["rarely"] < 0.3
    # Of a list, passages that hold none of its values would add some.
    of_a_list = NoneChances(always.present, always.elsewhere, asked=5, several=True)
    assert fit_none({"always": of_a_list, "rarely": rarely})["always"] < 0.7


def test_one_input_without_a_value_does_not_close_a_field() -> None:
    """Its passage may hold a value that nobody marked."""
    clear = NoneChances(present=spread(0.0, 0.5, 50), absent=[0.0, *spread(0.8, 1.0, 49)])
    assert fit_none({"clear": clear})["clear"] > 0.4


def test_where_no_threshold_holds_the_bound_one_is_given_all_the_same() -> None:
    assert 0 < of_one(present=spread(0.0, 0.5, 30), absent=[0.0] * 20) < 1
