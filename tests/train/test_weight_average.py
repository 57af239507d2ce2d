"""The mean of weights over the second half of a run: which states count, and that a killed run goes on with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tinsmith.train.weight_average import TERMS, WeightAverage


def walk(average: WeightAverage, weight: torch.Tensor, steps: range, total: int) -> None:
    for step in steps:
        weight.fill_(float(step))
        average.add(step / total)


def test_the_mean_is_of_equal_distances_in_the_second_half(tmp_path: Path) -> None:
    weight = torch.zeros(3)
    average = WeightAverage({"w": weight}, tmp_path / "mean")
    walk(average, weight, range(1, 161), 160)
    assert average.put()
    # Steps 90, 100 and so on to 160.
    assert TERMS == 8
    assert weight.tolist() == pytest.approx([125.0] * 3)


def test_a_killed_run_has_the_same_mean(tmp_path: Path) -> None:
    whole, cut = torch.zeros(2), torch.zeros(2)
    average = WeightAverage({"w": whole}, tmp_path / "whole")
    walk(average, whole, range(1, 101), 100)
    walk(WeightAverage({"w": cut}, tmp_path / "cut"), cut, range(1, 78), 100)
    again = WeightAverage({"w": cut}, tmp_path / "cut")
    walk(again, cut, range(60, 101), 100)  # from the last checkpoint
    assert average.put()
    assert again.put()
    assert torch.equal(whole, cut)


def test_what_an_attempt_without_a_checkpoint_left_is_forgotten(tmp_path: Path) -> None:
    weight = torch.zeros(1)
    walk(WeightAverage({"w": weight}, tmp_path / "mean"), weight, range(1, 100), 100)
    again = WeightAverage({"w": weight}, tmp_path / "mean")
    again.forget()
    walk(again, weight, range(1001, 1101), 1100)
    assert again.put()
    assert weight.item() > 1000


def test_one_state_is_no_mean(tmp_path: Path) -> None:
    weight = torch.zeros(1)
    average = WeightAverage({"w": weight}, tmp_path / "mean")
    assert not average.put()
    average.add(1.0)
    weight.fill_(5.0)
    assert not average.put()
    assert weight.item() == 5.0
