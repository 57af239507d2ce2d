"""The statistics that the benchmarks report."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "ratios.py"
_SPEC = importlib.util.spec_from_file_location("benchmark_ratios", _PATH)
assert _SPEC
assert _SPEC.loader
ratios = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = ratios  # dataclasses look their module up
_SPEC.loader.exec_module(ratios)


def test_ratios_are_taken_round_by_round_before_the_median():
    # The machine slowed down in round two: medians of each side alone would say 100 / 100.
    found = ratios.ratio_spread([200.0, 60.0, 100.0], [100.0, 40.0, 125.0])
    assert (found.median, found.low, found.high, found.rounds) == (1.5, 0.8, 2.0, 3)


def test_rounds_must_match():
    with pytest.raises(ValueError):
        ratios.ratio_spread([1.0, 2.0], [1.0])


def test_seconds_to_a_figure_are_interpolated_in_the_logarithm():
    points = [ratios.Point(400.0, 0.8), ratios.Point(100.0, 1.0)]
    assert ratios.seconds_to_reach(0.9, points) == ratios.Reach(pytest.approx(200.0), "equal")
    assert ratios.seconds_to_reach(0.8, points) == ratios.Reach(pytest.approx(400.0), "equal")


def test_nothing_is_guessed_outside_the_runs():
    points = [ratios.Point(100.0, 1.0), ratios.Point(400.0, 0.8)]
    assert ratios.seconds_to_reach(0.7, points) == ratios.Reach(400.0, "more_than")
    assert ratios.seconds_to_reach(1.1, points) == ratios.Reach(100.0, "at_most")


def test_a_longer_run_that_got_worse_does_not_undo_a_shorter_one():
    points = [ratios.Point(100.0, 1.0), ratios.Point(200.0, 0.8), ratios.Point(400.0, 0.9)]
    assert ratios.seconds_to_reach(0.8, points).seconds == pytest.approx(200.0)
