"""From answers to general tests to shares that are right, and what training changed about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinsmith.evaluate.bootstrap import Bootstrap, difference_row, ratio
from tinsmith.evaluate.items import BASE, OURS
from tinsmith.recipe import EvaluateConfig

Rows = Sequence[dict[str, Any]]


def general_rows(
    found: Mapping[str, Rows], config: EvaluateConfig, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return `general_accuracy:TASK` of each subject, and `forgetting:TASK`: ours minus its base, row by row."""
    metrics, comparisons = [], []
    for task in dict.fromkeys(row["task"] for rows in found.values() for row in rows):
        own = {name: [row for row in rows if row["task"] == task] for name, rows in found.items()}
        size = len(next(iter(own.values())))
        bootstrap = Bootstrap(size, resamples=config.bootstrap, confidence=config.confidence, seed=seed)
        shares = {name: ratio([row["correct"] for row in rows], [1.0] * size) for name, rows in own.items()}
        common = {"unit": "share", "slice": "", "task": task}
        for name, share in shares.items():
            about = {"items": size, "file": f"items/general-{name}.jsonl", **common}
            row = {"subject": name, "metric": f"general_accuracy:{task}", **bootstrap.estimate(share).row()}
            metrics.append(row | about)
        if OURS in shares and BASE in shares:
            difference = bootstrap.difference(shares[OURS], shares[BASE])
            level = {"confidence": config.confidence, "slice": "", "task": task}
            comparisons.append(difference_row(f"forgetting:{task}", OURS, BASE, difference, size, **level))
    return metrics, comparisons


def same_answer(row: Mapping[str, Any]) -> bool:
    """Say whether what a row says of itself follows from its scores: the first of the likeliest choices."""
    prediction = row["scores"].index(max(row["scores"]))
    return row["prediction"] == prediction and row["correct"] == (prediction == row["answer"])


def different_answer(subjects: Sequence[Rows]) -> str:
    """Name the first item whose answer differs between subjects, or that not all were asked; nothing if none."""
    first, *others = ({row["item"]: row["answer"] for row in rows} for rows in subjects or [[]])
    wrong = (
        name for other in others for name in first.keys() | other.keys() if first.get(name) != other.get(name)
    )
    return min(wrong, default="")
