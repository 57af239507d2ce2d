"""The page of a study of time to quality: points, seconds to the same figure, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence import table
from benchmarks.ratios import Point, seconds_to_reach

_RESAMPLES = 2000


def body(facts: dict[str, Any]) -> list[str]:
    """Return the page's lines."""
    study, ours, theirs = facts["study"], facts["ours"], facts["theirs"]
    points = [("tinsmith", row) for row in ours] + [(study["peer"], row) for row in theirs]
    return [
        f"Before training: {facts['untrained']:.4f} bits per byte on {len(ours[0]['items'])} held-out documents, "
        f"their first {study['characters']} characters. Every row is a run of its own.",
        "",
        *table(
            ["", "budget s", "trained s", "steps", "tokens", "held-out bits per byte", "peak GiB"],
            [
                [
                    name,
                    row["seconds"],
                    f"{row['training_seconds']:.0f}",
                    row["steps"],
                    f"{row['tokens']:,}",
                    f"{row['bits_per_byte']:.4f}",
                    f"{row['peak_rss_bytes'] / 2**30:.2f}",
                ]
                for name, row in points
            ],
        ),
        *_unlearnt(facts["untrained"], points),
        "## Seconds to the same figure",
        "",
        *table(
            [
                "tinsmith's budget s",
                "bits per byte",
                f"{study['peer']} needs s",
                "times as long",
                "95% of resamples",
            ],
            [_reach(row, theirs) for row in ours],
        ),
        "Between the peer's budgets the figure is interpolated in the logarithm of the seconds; outside them "
        "nothing is guessed. The last column resamples the held-out documents "
        f"{_RESAMPLES} times: it holds the choice of documents, "
        "not the spread of training runs, of which there is one for each row.",
        "",
        f"## How the peer was tuned: {study['validation']} documents of the training side, {study['tuning']} s a run",
        "",
        *table(
            ["learning rate", "sequences a step", "validation bits per byte"],
            [[f"{row['rate']:g}", row["batch"], f"{row['bits_per_byte']:.4f}"] for row in facts["tuning"]],
        ),
        f"Chosen: {facts['chosen']['rate']:g} with {facts['chosen']['batch']} sequences a step.",
    ]


def _unlearnt(untrained: float, points: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Name the runs that ended exactly where they began: their budget bought no step that moved a weight."""
    idle = [f"{name} with {row['seconds']} s" for name, row in points if row["bits_per_byte"] == untrained]
    if not idle:
        return []
    return [f"**These runs learnt NOTHING, so the comparison below is void**: {', '.join(idle)}.", ""]


def _reach(row: dict[str, Any], theirs: Sequence[dict[str, Any]]) -> list[object]:
    """Return one line: the peer's seconds to what a run of ours reached."""
    seconds = float(row["training_seconds"])
    points = [Point(float(each["training_seconds"]), float(each["bits_per_byte"])) for each in theirs]
    reach = seconds_to_reach(float(row["bits_per_byte"]), points)
    sign = {"equal": "", "at_most": "at most ", "more_than": "more than "}[reach.bound]
    low, high = np.percentile(_resampled(row, theirs), [2.5, 97.5])
    # Every resample is bounded by the peer's shortest and longest run, so the ends may be bounds too.
    top = max(point.seconds for point in points) / seconds
    bottom = min(point.seconds for point in points) / seconds
    ends = " to ".join(
        f"{'> ' if end >= top else '≤ ' if end <= bottom else ''}{end:.2f}" for end in (low, high)
    )
    return [
        row["seconds"],
        f"{row['bits_per_byte']:.4f}",
        reach,
        f"{sign}{reach.seconds / seconds:.2f}",
        ends,
    ]


def _resampled(row: dict[str, Any], theirs: Sequence[dict[str, Any]]) -> list[float]:
    """Return the ratio of seconds over resamples of the documents, the same documents for all runs."""
    runs = [_items(each) for each in (row, *theirs)]
    assert all((run[1] == runs[0][1]).all() for run in runs)
    ratios, generator = [], np.random.default_rng(0)
    for _ in range(_RESAMPLES):
        chosen = generator.integers(len(runs[0][0]), size=len(runs[0][0]))
        figures = [float(bits[chosen].sum() / sizes[chosen].sum()) for bits, sizes in runs]
        points = [
            Point(float(each["training_seconds"]), figure)
            for each, figure in zip(theirs, figures[1:], strict=True)
        ]
        ratios.append(seconds_to_reach(figures[0], points).seconds / float(row["training_seconds"]))
    return ratios


def _items(row: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bits and bytes of each held-out document."""
    bits, sizes = (np.array([item[name] for item in row["items"]], dtype=float) for name in ("bits", "bytes"))
    return bits, sizes
