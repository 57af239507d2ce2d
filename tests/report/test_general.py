"""What the page says of general ability, and that it says nothing where nothing was measured."""

from tinsmith.report.evidence import build_evidence
from tinsmith.report.general import describe_general
from tinsmith.report.page import render
from tinsmith.report.verdict import not_proven
from tinsmith.stages import PURPOSES

_UNTOLD = "What the model forgot of general text and skills was not measured."


def duel(low, high, **more):
    return {
        "metric": "forgetting:arc_easy",
        "ours": "trained",
        "other": "base",
        "role": "base",
        "difference": (low + high) / 2,
        "low": low,
        "high": high,
        "items": 200,
        "p_holm": 0.01,
        "one_of_many": False,
        "detectable": 0.06,
        "outcome": "worse" if high < 0 else "better" if low > 0 else "not shown to be better",
    } | more


def said(**changes):
    (row,) = describe_general([duel(**changes)], "trained")
    return row["text"]


def test_each_outcome_is_said_in_points():
    assert (
        said(low=-0.2, high=-0.1)
        == "arc easy: it forgot (−15 points, −20 points to −10 points, 200 questions)."
    )
    assert said(low=0.1, high=0.2).startswith("arc easy: it gained (+15 points")
    assert said(low=-0.2, high=-0.1, one_of_many=True).endswith("it may be chance.")
    assert said(low=-0.04, high=0.04).endswith("a change of 6 points would be seen four times in five.")
    assert describe_general([duel(-0.2, -0.1, metric="accuracy:kind:0-shot")], "trained") == []


def test_the_page_tells_what_was_forgotten_only_where_it_was_measured(bundle):
    evidence = build_evidence(bundle)
    assert _UNTOLD in evidence["not_proven"]
    assert 'id="general"' not in render(evidence, PURPOSES)
    rows = [
        {"subject": name, "metric": "general_accuracy:arc_easy", "value": value, "low": 0.1, "high": 0.9}
        for name, value in (("trained", 0.5), ("base", 0.65))
    ]
    evidence["metrics"] += rows
    evidence["comparisons"].append({"metric": "forgetting:arc_easy", "a": "trained", "b": "base"})
    evidence["general"] = describe_general([duel(-0.2, -0.1)], "trained")
    page = render(evidence, PURPOSES)
    assert "it forgot" in page
    assert "General ability: what it forgot" in page
    assert page.count("General accuracy, arc easy") == page.split('id="general"')[1].count(
        "General accuracy, arc easy"
    )
    assert _UNTOLD not in not_proven(evidence)
