"""What every family of measurements keeps to, so that planner, cache, verify and report need no list of their own."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

import tinsmith.evaluate.families as package
import tinsmith.report
from family_figures import make_context, make_preparation
from fixture_bundle import check, unpack
from general_rows import files_of_all_kinds
from small_models import byte_tokenizer
from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, write_json
from tinsmith.evaluate.families import families
from tinsmith.evaluate.probe import Opening, Probe, RedactedValue
from tinsmith.evidence.family import QUALITY, Section, read_metrics
from tinsmith.evidence.items import Item
from tinsmith.evidence.schema import Gap, Metrics, Role
from tinsmith.recipe import (
    CanaryConfig,
    EvaluateConfig,
    IngestConfig,
    Recipe,
    TaskConfig,
    TokenizeConfig,
)
from tinsmith.tokens.canaries import make_canaries

HEAVY = ("torch", "transformers", "sklearn", "pyarrow", "lm_eval", "daft")
TEXT = "The grantor shall pay the fee to the lender within thirty days of the closing of the sale. " * 3


CANARIES = CanaryConfig(each=3, repeats=(0, 2))


def specs():
    return {spec.name: spec for family in families() for spec in family.metrics}


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Return all that a real evaluation with every family but answers in words gave."""
    bundle = unpack(tmp_path_factory.mktemp("families"))
    return read_metrics(bundle / "data" / "metrics.json", families()), read_json(
        bundle / "data" / "metrics.json"
    )


def test_kinds_metrics_and_places_are_unique():
    kinds = [family.kind for family in families()]
    names = [spec.name for family in families() for spec in family.metrics]
    orders = [family.order for family in families()]
    for found in (kinds, names, orders):
        assert len(set(found)) == len(found)
    assert orders == sorted(orders)
    assert len(specs()) == len(names)
    assert all(":" not in name for name in names)


def test_each_metric_of_a_real_evaluation_is_known_with_unit_label_and_direction(figures):
    metrics, _ = figures
    emitted = {row.name for row in (*metrics.metrics, *metrics.comparisons)}
    assert emitted <= specs().keys()
    assert len(emitted) >= 14
    for row in (*metrics.metrics, *metrics.comparisons):
        spec = specs()[row.name]
        assert row.label.startswith(spec.label)
        assert spec.label
        assert row.unit
        assert row.higher_is_better is spec.higher_is_better
    measured = [family for family in families() if family.measured(metrics)]
    assert {spec.name for family in measured for spec in family.metrics} >= emitted
    # Of the others the bundle holds nothing: too few sentences of each kind, no answers in words, no job.
    missing = {family.kind for family in families() if family.metrics and not family.measured(metrics)}
    assert missing == {"bias", "generated", "job"}


def test_rows_of_an_earlier_version_are_completed_and_nothing_stored_is_changed(figures):
    metrics, stored = figures
    assert "label" not in stored["metrics"][0]
    for row, raw in zip(
        (*metrics.metrics, *metrics.comparisons), (*stored["metrics"], *stored["comparisons"])
    ):
        assert {field: getattr(row, field) for field in raw} == raw
    roles = {subject.subject: subject.role for subject in metrics.subjects}
    assert roles["trained"] is Role.OURS
    assert roles["trained-4bit"] is roles["trained-q8_0"] is Role.OURS_QUANTISED
    assert (roles["base"], roles["model-q8_0"], roles["ngram"]) == (Role.BASE, Role.RIVAL, Role.BASELINE)
    assert metrics == Metrics.model_validate(metrics.model_dump(mode="json", exclude_none=True))


def test_a_metric_that_no_family_declares_is_read_and_has_no_direction(tmp_path):
    write_json(
        tmp_path / "metrics.json", {"metrics": [{"metric": "old_one:1-shot", "subject": "a", "value": 1}]}
    )
    (row,) = read_metrics(tmp_path / "metrics.json", families()).metrics
    assert (row.label, row.unit, row.higher_is_better) == ("Old one, 1 example", "", None)


def test_a_damaged_file_is_refused(tmp_path):
    write_json(tmp_path / "metrics.json", {"metrics": [{"metric": "bias", "subject": "a"}]})
    with pytest.raises(BundleError, match=r"metrics\.json: metrics\.0\.value: Field required"):
        read_metrics(tmp_path / "metrics.json", families())


def test_each_section_has_a_template_one_title_and_one_place():
    templates = Path(tinsmith.report.__file__).parent / "templates"
    sections: dict[str, Section] = {}
    for family in families():
        assert (templates / f"{family.section.name}.html").is_file(), family.kind
        assert sections.setdefault(family.section.name, family.section) == family.section
    assert len({section.order for section in sections.values()}) == len(sections)
    assert sections["quality"] == QUALITY


def test_each_verdict_on_the_first_screen_is_an_outcome_of_findings():
    for family in families():
        assert not family.front or family.findings.__module__ != "tinsmith.evidence.family", family.kind


def test_families_load_nothing_heavy():
    code = f"""
    import sys
    from tinsmith.evaluate.families import families
    assert families()
    print(*sorted(set({HEAVY!r}) & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def _recipe(tasks=(), canaries=None, **evaluate):
    nothing = {"leakage_documents": 0, "redacted_values": 0, "bias_sentences": 0, "built_items": 0}
    return Recipe(
        name="r",
        ingest=IngestConfig(sources=(".",)),
        tasks=tasks,
        tokenize=TokenizeConfig(canaries=canaries or CanaryConfig()),
        evaluate=EvaluateConfig(**{**nothing, **evaluate}),
    )


# By kind, a recipe that asks for it; all other families that are asked ours and its base cost nothing by it.
ASKS = {
    "leakage": lambda folder: _recipe(leakage_documents=5),
    "canaries": lambda folder: _recipe(canaries=CANARIES),
    "asked-back": lambda folder: _recipe(redacted_values=5),
    "bias": lambda folder: _recipe(bias_sentences=5),
    "triggers": lambda folder: _recipe(trigger_restarts=1),
    "general": lambda folder: _recipe(general=files_of_all_kinds(folder)),
}


def test_each_family_that_is_prepared_has_a_recipe_here():
    assert {family.kind for family in families() if family.prepare} == ASKS.keys()


@pytest.mark.parametrize("kind", ASKS)
def test_what_is_asked_costs_something_and_what_is_not_asked_nothing(kind, tmp_path):
    recipe, plain = ASKS[kind](tmp_path), _recipe()
    costs = {family.kind: family.cost(recipe, 4.0) for family in families() if family.prepare}
    assert {name for name, cost in costs.items() if cost.tokens > 0} == {kind}
    assert not any(cost.models != "probed" or cost.seconds for cost in costs.values())
    assert not any(family.cost(plain, 4.0).tokens for family in families() if family.prepare)


@pytest.mark.parametrize("kind", ASKS)
def test_a_family_is_prepared_exactly_where_it_costs_something(kind, tmp_path):
    texts = {f"h{n}": f"{n} {TEXT}" for n in range(4)}
    training = {f"t{n}": f"{n}. {TEXT}" for n in range(4)}
    planted = [name for canary in make_canaries(CANARIES, seed=3) for name in canary.sequences()]
    facts = {
        "texts": texts,
        "training": training,
        "learnt": dict.fromkeys([*training, *planted], Opening(120, 1)),
        "redacted_documents": 1,
        "tokenizer": byte_tokenizer(),
        "questions": {"kind": [Item("q", "kind", "h0", TEXT, "\n\nKind:", "x", ("x", "y"))]},
        "find_redacted": lambda limit: [RedactedValue("t0", "email", "to ", "a@b.example", ("c@d.example",))],
    }
    for recipe in (ASKS[kind](tmp_path), _recipe()):
        facts["canaries"] = make_canaries(recipe.tokenize.canaries, seed=3)
        prepared = {
            family.kind: family.prepare(make_preparation(config=recipe.evaluate, **facts))
            for family in families()
            if family.prepare
        }
        asked = {name: probe for name, probe in prepared.items() if probe}
        assert set(asked) == ({kind} if recipe.evaluate != _recipe().evaluate or facts["canaries"] else set())
        for name, probe in asked.items():
            assert isinstance(probe, Probe)
            assert probe.kind == name
            assert probe.size > 0
            assert probe.about


@pytest.mark.parametrize("kind", ["leakage", "canaries", "asked-back"])
def test_what_is_asked_for_and_cannot_be_asked_says_why(kind, tmp_path):
    recipe = ASKS[kind](tmp_path)
    (family,) = (family for family in families() if family.kind == kind)
    facts = {
        "config": recipe.evaluate,
        "canaries": make_canaries(recipe.tokenize.canaries, seed=3),
        "redacted_documents": 1,
        "training": {"t0": TEXT},
        "tokenizer": byte_tokenizer(),
    }
    nothing = family.prepare(make_preparation(**facts, nothing_learnt="training read no document"))
    assert isinstance(nothing, Gap)
    assert nothing.kind == kind
    assert "was not shown" in nothing.what
    assert "training read no document" in nothing.why
    # Something was learnt, but not what this family asks for.
    other = family.prepare(make_preparation(**facts, learnt={"t0": Opening(99, 1)}))
    assert isinstance(other, Gap)
    assert any(word in other.why for word in ("at most 99", "before it had read one", "none was learnt"))


def test_what_every_model_is_asked_costs_by_its_number():
    costs = {family.kind: family for family in families()}
    task = TaskConfig(name="kind", question="{text}", answer="{kind}")
    bits = costs["bits"].cost(_recipe(documents=10, characters=400), 4.0)
    assert (bits.tokens, bits.models) == (1000, "all")
    assert not costs["exam"].cost(_recipe(), 4.0).tokens
    exam = costs["exam"].cost(_recipe(tasks=(task,), exam_items=5, shots=(0, 1)), 4.0)
    built = costs["exam"].cost(_recipe(built_items=5), 4.0)
    assert exam.tokens > 0
    assert built.tokens > 0
    both = costs["exam"].cost(_recipe(tasks=(task,), exam_items=5, shots=(0, 1), built_items=5), 4.0)
    assert both.tokens == exam.tokens + built.tokens
    assert exam.models == "all"
    assert costs["speed"].cost(_recipe(speed_tokens=8), 4.0).tokens > 0
    assert not costs["generated"].cost(_recipe(tasks=(task,)), 4.0).tokens
    assert costs["generated"].cost(_recipe(tasks=(task,), generated_items=5), 4.0).tokens > 0


NEW = '''
"""Words: how many of them a model was given."""

from tinsmith.evidence.bootstrap import Estimate
from tinsmith.evidence.family import Family, Figures, MetricSpec, Section


def figures(context):
    return Figures([
        FAMILY.row("words", (), subject, Estimate(float(len(rows)), 0.0, 1.0), len(rows))
        for subject, rows in context.items.rows("bits").items()
    ])


FAMILY = Family(
    kind="words",
    order=55,
    metrics=(MetricSpec("words", "words", "Words"),),
    figures=figures,
    section=Section("leakage", "Leaks", 50),
)
'''


@pytest.fixture
def dropped_in(tmp_path, monkeypatch):
    """Put a module beside the families, as somebody would who adds one."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "words.py").write_text(NEW)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "new")])
    families.cache_clear()
    yield
    monkeypatch.undo()
    for name in ("words", "unfinished"):
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)
    families.cache_clear()


def test_a_module_that_is_dropped_in_is_a_family_without_any_edit(dropped_in, tmp_path):
    kinds = [family.kind for family in families()]
    assert kinds.index("canaries") < kinds.index("words") < kinds.index("asked-back")
    assert specs()["words"].label == "Words"
    bundle = unpack(tmp_path)
    with pytest.raises(
        BundleError, match="metrics, base, words can be computed from the items and is missing"
    ):
        check(bundle)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("VALUE = 1\n", "FAMILY"),
        (
            NEW.replace('"words"', '"bias"', 1).replace('kind="words"', 'kind="bias"'),
            "share a kind",
        ),
    ],
)
def test_a_half_written_family_is_refused(dropped_in, tmp_path, text, error):
    (tmp_path / "new" / "unfinished.py").write_text(text)
    families.cache_clear()
    with pytest.raises((AttributeError, AssertionError), match=error):
        families()


def test_a_family_knows_its_own_metrics_alone(tmp_path):
    from tinsmith.evidence.bootstrap import Estimate

    bias = next(family for family in families() if family.kind == "bias")
    with pytest.raises(KeyError):
        bias.row("accuracy", (), "trained", Estimate(0, 0, 0), 1)
    row = bias.row("bias", ("gender", ""), "trained", Estimate(0.5, 0.0, 1.0), 7)
    assert (row.metric, row.label, row.unit, row.items) == ("bias:gender", "Bias, gender", "bits/byte", 7)
    assert row.file == "items/bias-trained.jsonl"
    assert not replace(bias, metrics=()).measured(Metrics(metrics=(row,)))
    assert bias.measured(Metrics(metrics=(row,)))
    assert bias.figures(make_context(tmp_path, ("trained",))).metrics == []
