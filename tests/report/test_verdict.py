"""The verdict follows the interval: what includes zero shows nothing."""

from pathlib import Path
from typing import Any

import pytest

from report.fake_runs import make_bundle
from tinsmith.base.files import read_json
from tinsmith.report.verdict import judge, lower_is_better, name_roles, not_proven, outcome


@pytest.mark.parametrize(
    ("gain", "words", "result"),
    [
        (0.05, "better than gemma-3-270m by 0.050 bits per byte (0.035 to 0.065)", "better"),
        (
            0.01,
            "not shown to be better than gemma-3-270m "
            "(a gain of 0.010 bits per byte, −0.005 to 0.025: zero is inside)",
            "not shown to be better",
        ),
        (-0.05, "worse than gemma-3-270m by 0.050 bits per byte (0.035 to 0.065)", "worse"),
    ],
)
def test_wording_flips_with_the_sign_of_the_interval(
    tmp_path: Path, gain: float, words: str, result: str
) -> None:
    bundle = make_bundle(tmp_path, gain=gain)
    verdict = read_json(bundle / "evidence.json")["verdict"]
    assert words in verdict["headline"]
    assert verdict["headline"].startswith(
        "On 60 held-out documents the model is better than its base smollm2-135m"
    )
    assert verdict["outcome"] == result
    page = (bundle / "report.html").read_text(encoding="utf-8")
    assert page.count("of them that share least with training documents it is") == 1
    marks = {"better": "verdict better", "worse": "verdict worse"}
    assert f'class="{marks.get(result, "verdict unclear")}"' in page


def test_a_comparison_the_other_way_round_means_the_same(evidence: dict[str, Any]) -> None:
    turned = [
        {
            **row,
            "a": row["b"],
            "b": row["a"],
            "difference": -row["difference"],
            "low": -row["high"],
            "high": -row["low"],
        }
        for row in evidence["comparisons"]
    ]
    assert judge({**evidence, "comparisons": turned})["headline"] == evidence["verdict"]["headline"]


def test_what_could_have_been_seen_stands_beside_no_difference_and_chance_beside_many(
    evidence: dict[str, Any],
) -> None:
    rows = [{**row, "detectable": 0.25, "p_holm": 0.2} for row in evidence["comparisons"]]
    clear = judge({**evidence, "comparisons": rows})["headline"]
    assert clear.count("; among so many comparisons it may be chance)") == clear.count("better than")
    unclear = [{**row, "difference": 0.01, "low": -0.1, "high": 0.1} for row in rows]
    found = judge({**evidence, "comparisons": unclear})["headline"]
    assert "zero is inside; one of 0.250 would be seen four times in five)" in found
    assert "chance" not in judge({**evidence, "comparisons": evidence["comparisons"]})["headline"]


def test_the_half_that_quotes_training_least_is_said_beside_the_headline(evidence: dict[str, Any]) -> None:
    whole = [row for row in evidence["comparisons"] if row["metric"] == "bits_per_byte"]
    assert judge({**evidence, "comparisons": whole})["unlike"] == {"text": "", "outcome": ""}
    half = {"metric": "bits_per_byte:overlap_low", "items": 30, "difference": 0.02, "low": 0.01, "high": 0.03}
    verdict = judge({**evidence, "comparisons": [*whole, *({**row, **half} for row in whole)]})
    assert verdict["unlike"]["text"].startswith(
        "On the 30 of them that share least with training documents it is worse than smollm2-135m by 0.020 bits"
    )
    assert verdict["unlike"]["outcome"] == "worse"
    assert verdict["headline"] == evidence["verdict"]["headline"]


def test_an_exam_says_which_of_its_differences_may_be_chance(evidence: dict[str, Any]) -> None:
    exams = [row for row in evidence["comparisons"] if row["metric"].startswith("accuracy")]
    assert exams
    lucky = [{**row, "difference": 0.2, "low": 0.1, "high": 0.3, "p_holm": 0.2} for row in exams]
    said = " ".join(row["text"] for row in judge({**evidence, "comparisons": lucky})["exam"])
    assert "better than" in said
    assert said.count(" points, may be chance)") == said.count(" points")
    sure = [{**row, "p_holm": 0.01} for row in lucky]
    assert "chance" not in " ".join(row["text"] for row in judge({**evidence, "comparisons": sure})["exam"])
    unclear = [{**row, "low": -0.1} for row in lucky]
    assert "chance" not in " ".join(
        row["text"] for row in judge({**evidence, "comparisons": unclear})["exam"]
    )


@pytest.mark.parametrize(
    ("metric", "low", "high", "expected"),
    [
        ("bits_per_byte", -0.2, -0.1, "better"),
        ("bits_per_byte", 0.1, 0.2, "worse"),
        ("bits_per_byte", -0.1, 0.0, "not shown to be better"),
        ("accuracy:category:0-shot", 0.1, 0.2, "better"),
        ("accuracy:category:0-shot", -0.2, -0.1, "worse"),
        ("tokens_per_second", 1.0, 2.0, "better"),
    ],
)
def test_direction_of_each_metric(metric: str, low: float, high: float, expected: str) -> None:
    assert outcome(metric, low, high) == expected


def test_price_and_energy_are_better_when_small() -> None:
    assert lower_is_better("joules_per_answer")
    assert lower_is_better("energy_price_per_1000_answers")
    assert not lower_is_better("tokens_per_second")


def test_roles_come_from_places_in_the_comparison() -> None:
    rows = [{"subject": s} for s in ("trained", "trained-4bit", "base", "majority", "trained-by-others")]
    roles = [row["role"] for row in name_roles(rows, [{"subject": "late"}])]
    assert roles == ["ours", "ours_quantised", "base", "control", "rival", "rival"]


def test_a_gpu_that_is_merely_present_proves_nothing(evidence: dict[str, Any]) -> None:
    machines = [{**evidence["machines"][0], "gpus": [{"name": "Example board"}]}]
    with_gpu = not_proven({**evidence, "machines": machines})
    assert not any("Nothing ran on a GPU" in gap for gap in with_gpu)
    assert any("how much of the work ran on it was not recorded" in gap for gap in with_gpu)


def test_own_four_bit_form_has_its_own_sentence(evidence: dict[str, Any]) -> None:
    text = evidence["verdict"]["quantised"]["text"]
    assert text == "Its own 4-bit form is better than gemma-3-270m by 0.064 bits per byte (0.049 to 0.079)."
