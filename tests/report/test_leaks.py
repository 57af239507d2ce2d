"""What a model gives away is said plainly, and nothing is said where nothing was asked."""

from typing import Any

import pytest

from tinsmith.report.leaks import describe_leakage


def row(metric: str, value: float, low: float, high: float, subject: str = "trained") -> dict[str, Any]:
    return {"subject": subject, "metric": metric, "value": value, "low": low, "high": high, "items": 200}


def metrics(train: float, area: float) -> list[dict[str, Any]]:
    return [
        row("bits_per_byte", 0.8, 0.7, 0.9),
        row("extracted:train", train, train - 0.02, train + 0.02),
        row("extracted:held_out", 0.03, 0.0, 0.07),
        row("membership_auc:loss", 0.5, 0.45, 0.55),
        row("membership_found:loss", 0.01, 0.0, 0.03),
        row("membership_auc:base", area, area - 0.06, area + 0.06),
        row("membership_found:base", 0.09, 0.05, 0.2),
        row("membership_auc:loss", 0.48, 0.41, 0.55, "base"),
        row("membership_found:loss", 0.0, 0.0, 0.03, "base"),
    ]


@pytest.mark.parametrize(
    ("train", "area", "outcomes", "words"),
    [
        (
            0.02,
            0.53,
            ["kept", "kept"],
            ["not said more often than documents it never saw", "could not be told"],
        ),
        (
            0.40,
            0.74,
            ["leaks", "leaks"],
            ["gives passages of its training documents away", "better than by chance"],
        ),
        (0.08, 0.74, ["kept", "leaks"], ["not said more often", "74% (68% to 80%) of pairs"]),
    ],
)
def test_the_verdict_follows_the_intervals(
    train: float, area: float, outcomes: list[str], words: list[str]
) -> None:
    said = describe_leakage(metrics(train, area), "trained")
    assert [each["outcome"] for each in said] == outcomes
    for each, word in zip(said, words, strict=True):
        assert word in f"{each['verdict']}. {each['text']}"
    # The strongest attack is told, and beside it what the base's figures say of the two parts.
    assert "loss against that of the base" in said[1]["text"]
    assert "For its base, which did not learn them here, it is 48% (41% to 55%)" in said[1]["text"]


def test_what_was_not_asked_is_not_told() -> None:
    assert describe_leakage([row("bits_per_byte", 0.8, 0.7, 0.9)], "trained") == []
    assert describe_leakage(metrics(0.4, 0.7), None) == []


@pytest.mark.parametrize(
    ("learnt", "verdict", "outcome"),
    [
        (6.0, "It learns a secret by heart that it meets 16 times", "leaks"),
        (1.5, "Planted secrets were not learnt", "kept"),
    ],
)
def test_canaries_are_held_against_those_never_planted(learnt, verdict, outcome):
    rows = [
        row("exposure:0", 1.4, 0.8, 2.2),
        row("exposure:1", 1.6, 0.7, 2.6),
        row("exposure:16", learnt, learnt - 1.0, learnt + 1.0),
    ]
    said = describe_leakage(rows, "trained")
    assert [(each["verdict"], each["outcome"]) for each in said] == [(verdict, outcome)]
    assert "never planted by 1.4 bits" in said[0]["text"]
    assert "planted 1 time" in said[0]["text"]
