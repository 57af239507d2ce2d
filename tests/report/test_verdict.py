"""The verdict follows the interval: what includes zero shows nothing."""

from pathlib import Path

import pytest

from report.fake_runs import make_bundle
from tinsmith.base.files import read_json
from tinsmith.evaluate.families import families
from tinsmith.evidence.outcome import decide
from tinsmith.evidence.schema import Comparison, Metrics
from tinsmith.report.front import first_screen
from tinsmith.report.page import render
from tinsmith.report.schema import Evidence, Verdict
from tinsmith.report.verdict import judge, not_proven


@pytest.mark.parametrize(
    ("gain", "words", "result"),
    [
        (0.05, "better than gemma-3-270m by 0.050 bits per byte (0.035 to 0.065)", "better"),
        (
            0.01,
            "not shown to be better than gemma-3-270m "
            "(measured gain 0.010 bits per byte; its interval, −0.005 to 0.025, includes zero)",
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


def judged(built: Evidence, comparisons: list[Comparison]) -> Verdict:
    return judge(Metrics(subjects=built.subjects, comparisons=tuple(comparisons)), built.confidence)


def test_a_comparison_the_other_way_round_means_the_same(built: Evidence) -> None:
    turned = [
        row.model_copy(
            update={
                "a": row.b,
                "b": row.a,
                "difference": -row.difference,
                "low": -row.high,
                "high": -row.low,
            }
        )
        for row in built.comparisons
    ]
    assert judged(built, turned) == built.verdict


def test_what_may_be_chance_is_not_called_better_anywhere(built: Evidence) -> None:
    """Neither the first screen's sentences and colour, nor the table of differences, nor the list of gaps."""
    verdict = judged(built, [row.model_copy(update={"p_holm": 0.2}) for row in built.comparisons])
    assert verdict.outcome == verdict.quantised.outcome == "not shown to be better"
    sentences = (verdict.headline, verdict.quantised.text)
    clause = "excludes zero, but among so many comparisons it may be chance: p 0.20)"
    for text in sentences:
        assert (
            text.count("not shown to be better than") == text.count("better than") == text.count(clause) > 0
        )
    evidence = built.model_copy(update={"verdict": verdict})
    evidence = evidence.model_copy(update={"first": first_screen(evidence)})
    assert not any("fewer bits" in sentence for sentence in evidence.first.sentences)
    page = render(evidence, families(), {})
    assert 'class="verdict unclear"' in page
    differences = page.partition('data-table="differences"')[2].partition("</table>")[0]
    assert "▲ better" not in differences
    assert "may be chance among so many" in differences
    assert any("smollm2-135m may be chance." in gap for gap in not_proven(evidence, families()))


def test_the_detectable_difference_stands_beside_no_difference(built: Evidence) -> None:
    rows = [row.model_copy(update={"detectable": 0.25, "p_holm": 0.01}) for row in built.comparisons]
    unclear = [row.model_copy(update={"difference": 0.01, "low": -0.1, "high": 0.1}) for row in rows]
    headline = judged(built, unclear).headline
    assert "includes zero; a difference of 0.250 would be detected four times in five)" in headline
    assert "chance" not in built.verdict.headline


def test_the_half_that_shares_least_with_training_stands_beside_the_headline(built: Evidence) -> None:
    whole = [row for row in built.comparisons if row.metric == "bits_per_byte"]
    assert judged(built, whole).unlike.model_dump() == {"text": "", "outcome": ""}
    half = {"metric": "bits_per_byte:overlap_low", "items": 30, "difference": 0.02, "low": 0.01, "high": 0.03}
    verdict = judged(built, [*whole, *(row.model_copy(update=half) for row in whole)])
    assert verdict.unlike.text.startswith(
        "On the 30 of them that share least with training documents it is worse than smollm2-135m by 0.020 bits"
    )
    assert verdict.unlike.outcome == "worse"
    assert verdict.headline == built.verdict.headline


@pytest.mark.parametrize(
    ("higher_is_better", "low", "high", "expected"),
    [
        (False, -0.2, -0.1, "better"),
        (False, 0.1, 0.2, "worse"),
        (False, -0.1, 0.0, "not shown to be better"),
        (True, 0.1, 0.2, "better"),
        (True, -0.2, -0.1, "worse"),
        (None, 0.1, 0.2, "not shown to be better"),
    ],
)
def test_the_outcome_needs_a_direction_and_an_interval_without_zero(
    higher_is_better: bool | None, low: float, high: float, expected: str
) -> None:
    assert decide(low, high, higher_is_better=higher_is_better) == expected


def test_directions_come_from_the_families() -> None:
    directions = {spec.name: spec.higher_is_better for family in families() for spec in family.metrics}
    lower = ("bits_per_byte", "joules_per_answer", "energy_price_per_1000_answers", "extracted", "exposure")
    assert {directions[name] for name in lower} == {False}
    higher = ("accuracy", "balanced_accuracy", "tokens_per_second", "forgetting", "generated_accuracy")
    assert {directions[name] for name in higher} == {True}
    assert directions["bias"] is None


def test_metrics_of_an_earlier_version_get_roles_labels_and_directions(built: Evidence) -> None:
    roles = {subject.subject: str(subject.role) for subject in built.subjects}
    assert roles == {
        "trained": "ours",
        "trained-4bit": "ours_quantised",
        "base": "base",
        "gemma": "rival",
        **dict.fromkeys(("compressor", "ngram", "majority", "tfidf"), "control"),
    }
    labels = {row.metric: row.label for row in built.metrics}
    assert labels["accuracy:category:0-shot"] == "Accuracy, category, no examples"
    assert labels["bits_per_byte:overlap_low"] == "Bits per byte, low overlap"


def test_a_gpu_that_is_merely_present_proves_nothing(built: Evidence) -> None:
    machines = [built.machines[0].model_copy(update={"gpus": ({"name": "Example board"},)})]
    with_gpu = not_proven(built.model_copy(update={"machines": machines}), families())
    assert not any("Nothing ran on a GPU" in gap for gap in with_gpu)
    assert any("how much of the work ran on it was not recorded" in gap for gap in with_gpu)


def test_each_family_says_that_it_was_not_measured_until_it_was(built: Evidence) -> None:
    said = {family.kind: family.not_measured for family in families() if family.not_measured}
    missing = {kind for kind, text in said.items() if text in built.not_proven}
    assert missing == said.keys() - {"bits"}
    row = built.metrics[0].model_copy(update={"metric": "general_accuracy:arc_easy"})
    alone = built.model_copy(update={"metrics": (row,), "comparisons": ()})
    assert said["general"] in not_proven(alone, families())  # without a base nothing is known of forgetting
    forgetting = built.comparisons[0].model_copy(update={"metric": "forgetting:arc_easy"})
    gaps = not_proven(alone.model_copy(update={"comparisons": (forgetting,)}), families())
    assert said["general"] not in gaps
    assert said["bits"] in gaps


def test_its_four_bit_file_has_a_sentence_of_its_own(built: Evidence) -> None:
    text = built.verdict.quantised.text
    assert text == "Its 4-bit file is better than gemma-3-270m by 0.064 bits per byte (0.049 to 0.079)."
