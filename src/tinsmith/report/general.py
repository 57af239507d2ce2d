"""What training changed about general ability, in a sentence for each test."""

from __future__ import annotations

from typing import Any

from tinsmith.report import format as words
from tinsmith.report.verdict import BETTER, WORSE, is_forgetting


def describe_general(duels: list[dict[str, Any]], ours: str | None) -> list[dict[str, str]]:
    """Return {text, outcome} for each test that our model and its base both answered."""
    return [
        {"text": _sentence(duel), "outcome": duel["outcome"]}
        for duel in duels
        if is_forgetting(duel["metric"]) and duel["ours"] == ours
    ]


def _sentence(duel: dict[str, Any]) -> str:
    test = duel["metric"].partition(":")[2].replace("_", " ")
    outcome = {BETTER: "it gained", WORSE: "it forgot"}.get(duel["outcome"], "no change is shown")
    span = f"{words.points(duel['low'])} to {words.points(duel['high'])}"
    text = f"{test}: {outcome} ({words.points(duel['difference'])}, {span}, {words.count(duel['items'])} questions)"
    if duel["outcome"] in (BETTER, WORSE):
        return text + ("; among so many comparisons it may be chance." if duel["one_of_many"] else ".")
    if duel["detectable"]:
        text += (
            f"; a change of {words.points(duel['detectable']).lstrip('+')} would be seen four times in five"
        )
    return text + "."
