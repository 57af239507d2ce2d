"""A bound is kept only where the whole interval is within it."""

import pytest

from tinsmith.base.errors import EvidenceError, RecipeError
from tinsmith.evaluate.bounds import check_bounds, refuse_outside
from tinsmith.evidence.schema import OURS_4BIT, MetricRow
from tinsmith.recipe import BoundsConfig, IngestConfig, Recipe
from tinsmith.stages.evaluate import STAGE


def _row(metric, value, low=None, high=None, subject="trained"):
    about = {"unit": "share", "label": metric.title(), "higher_is_better": False, "items": 9}
    return MetricRow(metric=metric, subject=subject, value=value, low=low, high=high, **about)


ROWS = [
    _row("membership_found:loss", 0.2, 0.1, 0.4),
    _row("membership_found:base", 0.3, 0.2, 0.5),
    _row("membership_found:loss", 0.9, 0.8, 1.0, subject="base"),
    _row("accuracy:kind:0-shot", 0.6, 0.4, 0.8),
    _row("tokens_per_second", 50.0),
]


@pytest.mark.parametrize(
    ("side", "bound", "kept"),
    [
        ("at_most", 0.39, False),
        ("at_most", 0.4, True),
        ("at_least", 0.1, True),
        ("at_least", 0.11, False),
        ("at_most", 0.2, False),  # the value is within, its interval is not
        ("at_least", 0.2, False),
    ],
)
def test_the_whole_interval_has_to_be_within(side, bound, kept):
    config = BoundsConfig(**{side: {"membership_found:loss": bound}})
    (check,) = check_bounds(config, ROWS)
    assert check.kept is kept
    assert (check.metric, check.side, check.bound) == ("membership_found:loss", side, bound)
    assert (check.value, check.low, check.high) == (0.2, 0.1, 0.4)
    assert (check.unit, check.label, check.higher_is_better) == ("share", "Membership_Found:Loss", False)


def test_a_name_stands_for_all_that_follow_it_and_for_our_model_alone():
    checks = check_bounds(BoundsConfig(at_most={"membership_found": 0.45}), ROWS)
    assert [(check.metric, check.kept) for check in checks] == [
        ("membership_found:loss", True),
        ("membership_found:base", False),
    ]
    with pytest.raises(
        RecipeError, match=r"(?s)at_most: no figure of our model is called 'membership'.*accuracy:kind"
    ):
        check_bounds(BoundsConfig(at_most={"membership": 1.0}), ROWS)


def test_a_figure_without_an_interval_is_held_to_its_value():
    (check,) = check_bounds(BoundsConfig(at_least={"tokens_per_second": 50.0}), ROWS)
    assert (check.kept, check.low, check.high) == (True, 50.0, 50.0)
    (check,) = check_bounds(BoundsConfig(at_least={"tokens_per_second": 50.1}), ROWS)
    assert not check.kept


def test_of_our_4_bit_file_counts_what_the_model_itself_has_no_figure_of():
    rows = [*ROWS, _row("generated_accuracy:kind", 0.5, 0.4, 0.6, subject=OURS_4BIT)]
    rows += [_row("tokens_per_second", 90.0, subject=OURS_4BIT)]
    checks = check_bounds(BoundsConfig(at_least={"generated_accuracy": 0.4, "tokens_per_second": 40.0}), rows)
    assert [(check.metric, check.value) for check in checks] == [
        ("generated_accuracy:kind", 0.5),
        ("tokens_per_second", 50.0),
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("acuracy:kind", r"no figure of a model is called 'acuracy:kind'(.|\n)*one of these.*bits_per_byte"),
        ("forgetting", "no figure of a model is called 'forgetting'"),
        ("exposure:16", "exposure:16 is not measured by this recipe"),
        ("extracted:train", "extracted:train is not measured by this recipe"),
        ("generated_accuracy", "generated_accuracy is not measured"),
        ("general_accuracy:arc", "general_accuracy:arc is not measured"),
    ],
)
def test_a_bound_on_what_is_not_measured_is_refused_before_anything_runs(name, said):
    ingest, evaluate = (
        IngestConfig(sources=(".",)),
        {"bounds": {"at_most": {name: 0.5}}, "leakage_documents": 0},
    )
    recipe = Recipe(name="r", ingest=ingest, evaluate=evaluate)
    with pytest.raises(RecipeError, match=rf"evaluate\.bounds\.at_most: {said}"):
        STAGE.check(recipe)


def test_bounds_on_what_is_measured_are_taken():
    bounds = {"at_least": {"bits_per_byte:overlap_low": 0.1, "accuracy:cloze": 0.1, "joules_per_answer": 1}}
    STAGE.check(Recipe(name="r", ingest=IngestConfig(sources=(".",)), evaluate={"bounds": bounds}))


def test_no_number_of_examples_is_refused_where_tasks_would_be_asked():
    task = {"name": "kind", "question": "{text} Which?", "answer": "{kind}"}
    recipe = Recipe(name="r", ingest=IngestConfig(sources=(".",)), tasks=(task,), evaluate={"shots": ()})
    with pytest.raises(RecipeError, match=r"evaluate\.shots: lists no number of examples"):
        STAGE.check(recipe)


def test_what_is_out_of_bounds_is_named_and_only_reported_where_the_recipe_says_so():
    config = BoundsConfig(at_most={"membership_found": 0.45}, at_least={"accuracy:kind": 0.5})
    checks = check_bounds(config, ROWS)
    with pytest.raises(EvidenceError) as refused:
        refuse_outside(checks, config, where="out")
    said = refused.value.what
    assert "membership_found:base is 0.3 (0.2 to 0.5), the recipe asks for at most 0.45" in said
    assert "accuracy:kind:0-shot is 0.6 (0.4 to 0.8), the recipe asks for at least 0.5" in said
    assert "membership_found:loss" not in said
    refuse_outside(checks, config.model_copy(update={"action": "report"}), where="out")
    refuse_outside([check for check in checks if check.kept], config, where="out")
