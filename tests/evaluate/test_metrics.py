"""All figures together: families in their order, differences adjusted among models, the recipe's bounds."""

import pytest

from family_figures import CONFIG, make_context, store
from tinsmith.base.errors import RecipeError
from tinsmith.evaluate.metrics import compute_metrics
from tinsmith.evidence.bootstrap import holm
from tinsmith.evidence.schema import Formats, Role
from tinsmith.recipe import BoundsConfig, EvaluateConfig

ROLES = {
    "trained": Role.OURS,
    "base": Role.BASE,
    "rival": Role.RIVAL,
    "ngram": Role.BASELINE,
}


def _bits(extra):
    return [
        {
            "doc_id": f"d{n}",
            "bytes": 100,
            "tokens": 9,
            "bits": 50.0 + 9 * n + extra * (1 + n % 3),
            "overlap": 0.0,
        }
        for n in range(8)
    ]


def _right(share):
    return [
        {
            "item": f"g{n}",
            "task": "pairs",
            "answer": 0,
            "prediction": int(n >= share),
            "correct": n < share,
            "scores": [],
        }
        for n in range(10)
    ]


@pytest.fixture
def stored(tmp_path):
    store(tmp_path, "bits", {name: _bits(extra) for name, extra in zip(ROLES, (0.0, 1.0, -0.4, 20.0))})
    store(tmp_path, "general", {"trained": _right(4), "base": _right(6)})
    return tmp_path


def _compute(folder, config=CONFIG):
    return compute_metrics(make_context(folder, ROLES, config), precision="float32", notes=["so"], gaps=())


def test_families_stand_in_their_order_and_all_is_told_that_is_needed_to_compute_it_again(stored):
    found = _compute(stored)
    assert [row.name for row in found.metrics] == ["bits_per_byte"] * 4 + ["general_accuracy"] * 2
    assert [row.subject for row in found.metrics] == [*ROLES, "trained", "base"]
    assert [(subject.subject, subject.role) for subject in found.subjects] == list(ROLES.items())
    assert (found.precision, found.notes, found.generated) == ("float32", ("so",), None)
    assert found.ladder == Formats(max_loss=CONFIG.max_loss)


def test_p_values_are_adjusted_over_all_families_and_not_for_baselines(stored):
    found = _compute(stored).comparisons
    assert [(row.metric, row.b) for row in found] == [
        ("bits_per_byte", "base"),
        ("bits_per_byte", "rival"),
        ("bits_per_byte", "ngram"),
        ("forgetting:pairs", "base"),
    ]
    between = [row for row in found if row.b != "ngram"]
    assert [row.p_holm for row in between] == holm([row.p for row in between])
    assert any(row.p_holm > row.p for row in between)
    (baseline,) = [row for row in found if row.b == "ngram"]
    assert baseline.p is not None
    assert baseline.p_holm is None


def test_bounds_are_held_against_these_figures(stored):
    config = EvaluateConfig(bootstrap=200, bounds=BoundsConfig(at_most={"bits_per_byte": 99.0}))
    (check,) = _compute(stored, config).bounds
    assert (check.metric, check.kept) == ("bits_per_byte", True)
    config = EvaluateConfig(bootstrap=200, bounds=BoundsConfig(at_most={"exposure": 1.0}))
    with pytest.raises(RecipeError, match="no figure of our model is called 'exposure'"):
        _compute(stored, config)


def test_without_items_there_are_no_figures(tmp_path):
    found = _compute(tmp_path)
    assert (found.metrics, found.comparisons, found.bounds) == ((), (), ())
