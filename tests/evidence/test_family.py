"""Who is compared with whom, and how the name of a figure is taken apart."""

from pathlib import Path

import pytest

from family_figures import make_context
from tinsmith.base.errors import BundleError
from tinsmith.base.files import write_json, write_jsonl
from tinsmith.evidence.bootstrap import Bootstrap, Estimate, ratio
from tinsmith.evidence.family import (
    Family,
    FamilyCost,
    Figures,
    MetricSpec,
    Results,
    read_metrics,
    require_subjects,
)
from tinsmith.evidence.schema import (
    GGUF_SUBJECTS,
    OURS_4BIT,
    Comparison,
    MetricRow,
    Metrics,
    Role,
    Subject,
    role_of,
)

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


ACCURACY = MetricSpec("accuracy", "share", "Accuracy", higher_is_better=True)
LOSS = MetricSpec("loss", "nats", "Loss")


def _family(**more):
    return Family(kind="exam", order=1, metrics=(ACCURACY, LOSS), figures=lambda context: Figures(), **more)


def test_a_figure_has_what_its_metric_says_and_its_interval():
    row = _family().row("accuracy", ["kind", "", "1-shot"], "rival", Estimate(0.5, 0.25, 0.75), 9, shots=1)
    assert row == MetricRow(
        metric="accuracy:kind:1-shot",
        unit="share",
        label="Accuracy, kind, 1 example",
        higher_is_better=True,
        items=9,
        subject="rival",
        value=0.5,
        low=0.25,
        high=0.75,
        file="items/exam-rival.jsonl",
        shots=1,
    )
    assert _family().row("loss", [], "rival", Estimate(0.5, 0.25, 0.75), 9, file="x").file == "x"
    with pytest.raises(KeyError):
        _family().row("other", [], "rival", Estimate(0.5, 0.25, 0.75), 9)


def test_a_comparison_is_the_first_minus_the_second_with_its_test():
    bootstrap = Bootstrap(4, resamples=100, confidence=0.9, seed=1)
    statistics = {"a": ratio([4, 3, 2, 2], [1] * 4), "b": ratio([1, 2, 1, 1], [1] * 4)}
    row = _family().compare("loss", ["kind"], statistics, ("a", "b"), bootstrap, items=4)
    found = bootstrap.difference(statistics["a"], statistics["b"])
    assert (row.metric, row.unit, row.label, row.items) == ("loss:kind", "nats", "Loss, kind", 4)
    assert (row.a, row.b, row.higher_is_better) == ("a", "b", None)
    assert (row.difference, row.low, row.high) == (1.5, found.low, found.high)
    assert (row.p, row.detectable) == (found.p_value, found.detectable(0.9))
    assert row.p_holm is None


def test_a_family_is_measured_where_any_table_has_a_row_of_it():
    row = {"metric": "accuracy:kind", "subject": "trained", "value": 0.5}
    comparison = {"metric": "accuracy", "a": "a", "b": "b", "difference": 0.0, "low": 0.0, "high": 0.0}
    for found in ({"metrics": [row]}, {"comparisons": [comparison]}, {"generated": {"metrics": [row]}}):
        metrics = Metrics.model_validate(found)
        assert _family().measured(metrics)
        assert _family(needs="accuracy").measured(metrics)
        assert not _family(needs="loss").measured(metrics)
    assert not _family().measured(Metrics.model_validate({"metrics": [row | {"metric": "other"}]}))
    assert not _family().measured(Metrics())


def test_results_are_of_our_model_unless_another_is_named():
    rows = [
        MetricRow(metric=metric, subject=subject, value=value)
        for metric, subject, value in (
            ("accuracy:kind", "trained", 1.0),
            ("accuracy:kind", "base", 2.0),
            ("accuracy", "trained", 3.0),
            ("loss", "rival", 4.0),
        )
    ]
    results = Results(Metrics(metrics=tuple(rows)), "trained", (), 0.95)
    assert [row.value for row in results.rows("accuracy")] == [1.0, 3.0]
    assert [row.value for row in results.rows("accuracy", "base")] == [2.0]
    assert results.row("accuracy").value == 3.0
    assert results.row("accuracy:kind").value == 1.0
    assert results.row("loss", "rival").value == 4.0
    assert results.row("loss") is None
    assert results.base_row("accuracy:kind").value == 2.0
    assert results.base_row("accuracy") is None
    # Without a model of ours nothing is its figure.
    assert Results(results.metrics, None, (), 0.95).rows("accuracy") == []


def test_stored_figures_are_read_whole_or_refused(tmp_path):
    path = tmp_path / "metrics.json"
    row = {"metric": "accuracy", "subject": "trained", "value": 0.5}
    compared = {"metric": "loss", "a": "trained", "b": "base", "difference": 1.0, "low": 0.0, "high": 2.0}
    bound = {"metric": "accuracy:kind", "side": "at_least", "bound": 0.5, "kept": True, "value": 0.6}
    stored = {
        "metrics": [row],
        "comparisons": [compared],
        "bounds": [bound],
        "generated": {"metrics": [row | {"metric": "new_one:kind"}], "comparisons": [compared]},
        "subjects": [{"subject": "trained", "name": "x"}, {"subject": "y", "name": "y", "role": "control"}],
        "notes": "one",
    }
    write_json(path, stored)
    found = read_metrics(path, [_family()])
    assert found.metrics[0].unit == "share"
    assert (found.comparisons[0].unit, found.comparisons[0].difference) == ("nats", 1.0)
    assert (found.bounds[0].label, found.bounds[0].higher_is_better) == ("Accuracy, kind", True)
    assert (found.generated.metrics[0].label, found.generated.metrics[0].unit) == ("New one, kind", "")
    assert found.generated.comparisons[0].label == "Loss"
    assert [subject.role for subject in found.subjects] == [Role.OURS, Role.BASELINE]
    assert found.notes == ("one",)
    write_json(path, {"notes": ["one", "two"]})
    assert read_metrics(path, []).notes == ("one", "two")
    for broken, what in (
        ({"metrics": [{"value": 1}]}, "lacks the field 'metric'"),
        ({"metrics": [row | {"value": "x"}]}, r"metrics\.0\.value: "),
    ):
        write_json(path, broken)
        with pytest.raises(BundleError, match=what):
            read_metrics(path, [])


def test_every_subject_with_figures_is_known():
    subjects = (Subject(subject="trained", name="x", role=Role.OURS),)
    row = MetricRow(metric="accuracy", subject="trained", value=0.5)
    compared = Comparison(metric="loss", a="trained", b="trained", difference=0.0, low=0.0, high=0.0)
    require_subjects(
        Metrics(subjects=subjects, metrics=(row,), comparisons=(compared,)), Path("metrics.json")
    )
    for unknown in (
        {"metrics": (row.model_copy(update={"subject": "other"}),)},
        {"comparisons": (compared.model_copy(update={"a": "other"}),)},
        {"comparisons": (compared.model_copy(update={"b": "other"}),)},
    ):
        with pytest.raises(BundleError, match="other has figures and is not among the subjects"):
            require_subjects(Metrics(subjects=subjects, **unknown), Path("metrics.json"))


def test_roles_follow_from_names_and_qualifiers_have_a_heading():
    names = ("trained", "base", *GGUF_SUBJECTS.values(), "other")
    assert [role_of(name) for name in names] == [Role.OURS, Role.BASE, *[Role.OURS_QUANTISED] * 6, Role.RIVAL]
    # The names of files in bundles.
    formats = ("q3_k_m", "q5_k_m", "q6_k", "q8_0", "f16")
    assert {"q4_k_m": OURS_4BIT} | {name: f"trained-{name}" for name in formats} == GGUF_SUBJECTS
    assert OURS_4BIT == "trained-4bit"
    assert [role for role in Role if role.is_ours] == [Role.OURS, Role.OURS_QUANTISED]
    row = MetricRow(metric="accuracy:my_kind:overlap_high", label="Accuracy", subject="trained", value=0.0)
    assert row.qualifier_label == "My kind, high overlap"
    assert row.model_copy(update={"metric": "accuracy"}).qualifier_label == "Accuracy"


def test_questions_are_those_that_are_stored(tmp_path):
    row = {"item": "q", "task": "t", "doc_id": "d", "text": "", "question": "", "answer": "a"}
    write_jsonl(tmp_path / "questions.jsonl", [row | {"choices": ["a"], "span": None, "kind": "own"}])
    assert list(make_context(tmp_path, SUBJECTS).items.questions) == ["q"]


def test_a_share_counts_its_items():
    assert MetricRow(metric="said", subject="trained", value=3 / 7, items=7).hits == 3
    assert MetricRow(metric="said", subject="trained", value=0.5).hits == 0


def test_a_family_costs_nothing_until_it_says_so():
    assert FamilyCost() == FamilyCost(tokens=0, models="probed", seconds=0)
