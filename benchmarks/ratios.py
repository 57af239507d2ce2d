"""Ratios with their spread, and seconds to a target read off a curve of separate runs."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Spread:
    """The median of per-round values, with the smallest and the largest."""

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Return median, minimum and maximum of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio_spread(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the spread of ours over theirs, round by round: neighbours in time met the same machine."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


@dataclass(frozen=True)
class Point:
    """A finished run: the seconds that it trained and the held-out figure (lower is better) it ended at."""

    seconds: float
    figure: float


@dataclass(frozen=True)
class Reach:
    """Seconds until a figure is reached. `bound` tells whether it was met within the runs or lies outside."""

    seconds: float
    bound: Literal["equal", "at_most", "more_than"]

    def __str__(self) -> str:
        sign = {"equal": "", "at_most": "at most ", "more_than": "more than "}[self.bound]
        return f"{sign}{self.seconds:.0f}"


def seconds_to_reach(figure: float, points: Sequence[Point]) -> Reach:
    """Return when a family of runs with growing budgets reaches a figure.

    Between two budgets the figure is interpolated linearly in the logarithm of the seconds; beyond the longest
    or before the shortest nothing is guessed, only a bound is given.
    """
    ordered = sorted(points, key=lambda point: point.seconds)
    if ordered[0].figure <= figure:
        return Reach(ordered[0].seconds, "at_most")
    for before, after in itertools.pairwise(ordered):
        if after.figure <= figure:
            share = (before.figure - figure) / (before.figure - after.figure)
            log = math.log(before.seconds) + share * math.log(after.seconds / before.seconds)
            return Reach(math.exp(log), "equal")
    return Reach(ordered[-1].seconds, "more_than")
