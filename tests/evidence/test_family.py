"""Who is compared with whom, and how the name of a figure is taken apart."""

import pytest

from family_figures import make_context
from tinsmith.base.files import write_json, write_jsonl
from tinsmith.evidence.family import Family, Figures, MetricSpec, read_metrics
from tinsmith.evidence.schema import MetricRow, Role

SUBJECTS = {
    "trained": Role.OURS,
    "trained-4bit": Role.OURS_QUANTISED,
    "trained-q8_0": Role.OURS_QUANTISED,
    "base": Role.BASE,
    "rival": Role.RIVAL,
    "ngram": Role.BASELINE,
}


def test_ours_comes_first_and_its_files_are_compared_with_other_models_alone(tmp_path):
    context = make_context(tmp_path, SUBJECTS)
    assert context.pairs(list(SUBJECTS)) == [
        ("trained", "base"),
        ("trained", "rival"),
        ("trained", "ngram"),
        ("trained-4bit", "trained"),
        ("trained-4bit", "base"),
        ("trained-4bit", "rival"),
    ]
    assert context.pairs(["base", "rival", "ngram"]) == []
    assert context.pairs(["trained-4bit", "api"]) == [("trained-4bit", "api")]
    assert context.role("api") is Role.RIVAL


def test_resamples_are_the_same_for_the_same_size(tmp_path):
    context = make_context(tmp_path, SUBJECTS)
    one, again = context.bootstrap(5), context.bootstrap(5)
    assert (one.weights == again.weights).all()
    assert one.weights.shape == (200, 5)


def test_items_are_those_of_the_subjects_that_have_any_in_their_order(tmp_path):
    for name in ("rival", "trained"):
        write_jsonl(tmp_path / f"bits-{name}.jsonl", [{"bits": 1.0}])
    write_jsonl(tmp_path / "bits-base.jsonl", [])
    write_jsonl(tmp_path / "bits-foreign.jsonl", [{"bits": 2.0}])
    write_json(tmp_path / "speed-rival.json", {"answers": []})
    items = make_context(tmp_path, SUBJECTS).items
    assert list(items.rows("bits")) == ["trained", "rival"]
    assert items.rows("bits", ["foreign"]) == {"foreign": [{"bits": 2.0}]}
    assert items.values("speed") == {"rival": {"answers": []}}
    assert items.questions == {}


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("accuracy", "Accuracy"),
        ("accuracy:kind:0-shot", "Accuracy, kind, no examples"),
        ("accuracy:kind:1-shot", "Accuracy, kind, 1 example"),
        ("accuracy:my_kind:12-shot", "Accuracy, my kind, 12 examples"),
        ("accuracy:overlap_low", "Accuracy, low overlap"),
    ],
)
def test_what_an_earlier_version_left_out_is_added_and_what_it_says_is_kept(tmp_path, metric, label):
    spec = MetricSpec("accuracy", "share", "Accuracy", higher_is_better=True)
    row = {"subject": "trained", "metric": metric, "value": 0.5}
    write_json(tmp_path / "metrics.json", {"metrics": [row, row | {"unit": "%"}]})
    family = Family(kind="exam", order=1, metrics=(spec,), figures=lambda context: Figures())
    first, second = read_metrics(tmp_path / "metrics.json", [family]).metrics
    assert (first.metric, first.value, first.label, first.unit) == (metric, 0.5, label, "share")
    assert first.higher_is_better is True
    assert second.unit == "%"


@pytest.mark.parametrize(
    ("metric", "name", "fits"),
    [
        ("accuracy:kind:0-shot", "accuracy", True),
        ("accuracy:kind:0-shot", "accuracy:kind", True),
        ("accuracy:kind:0-shot", "accuracy:kind:0-shot", True),
        ("accuracy:kind:0-shot", "accuracy:ki", False),
        ("accuracy:kind:0-shot", "accuracy:kind:0-shot:more", False),
        ("accuracy", "accurac", False),
    ],
)
def test_a_name_stands_for_what_follows_it_after_a_colon(metric, name, fits):
    assert MetricRow(metric=metric, subject="trained", value=0.0).matches(name) is fits
