"""Answers in words have a table of their own, and none where nothing was asked so."""

from typing import Any

from tinsmith.report.answers import describe_answers
from tinsmith.report.page import render
from tinsmith.stages import PURPOSES


def cell(subject: str, kind: str, value: float) -> dict[str, Any]:
    row = {"subject": subject, "metric": f"{kind}:kind", "task": "kind", "items": 12}
    return {**row, "value": value, "low": value - 0.1, "high": value + 0.1}


MEASURED = {
    "generated": {
        "systems": [{"subject": "trained", "name": "Ours"}, {"subject": "api", "name": "api <m>"}],
        "metrics": [
            cell("trained", "generated_accuracy", 0.5),
            cell("trained", "generated_unanswered", 0.25),
            cell("api", "generated_accuracy", 0.75),
        ],
        "comparisons": [
            {
                "a": "trained",
                "b": "api",
                "task": "kind",
                "difference": -0.25,
                "low": -0.4,
                "high": 0.1,
                "items": 11,
            }
        ],
        "notes": ["Partial: api counts with 11 of 12."],
    }
}


def test_systems_stand_best_first_with_what_was_measured():
    (task,) = describe_answers(MEASURED)["tasks"]
    assert task["columns"] == ["Right", "Names no choice"]
    assert [row["name"] for row in task["rows"]] == ["api <m>", "Ours"]
    assert task["rows"][0]["cells"][1] is None


def test_the_page_shows_them_apart_and_only_where_there_are_some(evidence):
    assert describe_answers({}) == evidence["answers"] == {}
    assert "Answers in words" not in render(evidence, PURPOSES)
    page = render({**evidence, "answers": describe_answers(MEASURED)}, PURPOSES)
    section = page.partition('id="generated"')[2].partition("</section>")[0]
    for words in ("Answers in words", "api &lt;m&gt;", "75%", "Partial: api counts with 11 of 12."):
        assert words in section
    assert "api &lt;m&gt;" not in page.partition('id="quality"')[2].partition("</section>")[0]
