"""Whatever number of a bundle's figures is forged, left out or added, is named."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fixture_bundle import check, unpack
from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, read_jsonl, write_jsonl
from tinsmith.evaluate import verify
from tinsmith.evidence.family import read_metrics
from tinsmith.recipe.toml import parse_recipe

NAMES = ("subject", "metric", "a", "b", "format", "side", "bound")


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """Return the bundle, its stored figures, and what its items give: computed once, since nobody changes items."""
    bundle = unpack(tmp_path_factory.mktemp("genuine"))
    computed = []
    real = verify.compute_metrics
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            verify, "compute_metrics", lambda *a, **b: computed.append(real(*a, **b)) or computed[0]
        )
        assert check(bundle) > 800
    return bundle, read_json(bundle / "data" / "metrics.json"), computed[0]


@pytest.fixture
def forge(genuine, tmp_path, monkeypatch):
    """Return a function that changes a copy of the stored figures and returns what verify says of it."""
    bundle, stored, computed = genuine
    text = json.dumps(stored)
    monkeypatch.setattr(verify, "compute_metrics", lambda *given, **named: computed)
    # Nor are items checked again, which are as they were.
    trusting = [replace(family, check=lambda items: None) for family in verify.families()]
    monkeypatch.setattr(verify, "families", lambda: trusting)
    recipe = parse_recipe(read_json(bundle / "recipe.json"), where="recipe.json")

    def said(change):
        copy = json.loads(text)
        change(copy)
        (tmp_path / "metrics.json").write_text(json.dumps(copy))
        with pytest.raises(BundleError, match=r"metrics\.json: (.|\n)*do not trust this bundle") as refused:
            verify.check_figures(tmp_path / "metrics.json", bundle / "items", recipe, gguf=bundle / "gguf")
        return refused.value.what

    return said


def _rows(stored):
    """Yield the name of each table, and how to reach its rows."""
    return {
        "metrics": stored["metrics"],
        "comparisons": stored["comparisons"],
        "ladder": stored["ladder"]["rows"],
        "bounds": stored["bounds"],
    }


def _name(table, row):
    return ", ".join([table, *(str(row[key]) for key in NAMES if key in row)])


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def test_a_bundle_of_an_earlier_version_is_whole(genuine):
    bundle, stored, _ = genuine
    numbers = sum(
        _is_number(value) for rows in _rows(stored).values() for row in rows for value in row.values()
    )
    assert check(bundle) == numbers + 1  # and the loss that the recipe allows


def _tables(genuine):
    """Return by name the rows of each table, as they are stored and as the items give them."""
    bundle, _, computed = genuine
    stored = read_metrics(bundle / "data" / "metrics.json", verify.families())
    return {name: (old, new) for name, old, new in verify._tables(stored, computed) if len(old) > 1}


def _said(table, stored, computed):
    with pytest.raises(BundleError) as refused:
        verify._compare(Path("metrics.json"), table, stored, computed)
    return refused.value.what


@pytest.mark.parametrize("table", ["metrics", "comparisons", "ladder", "bounds"])
def test_any_forged_number_is_named(genuine, forge, table):
    rows, computed = _tables(genuine)[table]
    again = verify._named(table, computed)
    forged = 0
    for place, (row, name) in enumerate(zip(rows, verify._named(table, rows), strict=True)):
        for field, value in row.model_dump().items():
            if not _is_number(value):
                continue
            other = value + 1 if isinstance(value, int) else value + 1e-6
            # Each row with its own counterpart alone: all with all would take half a minute.
            said = _said(table, [row.model_copy(update={field: other})], [again[name]])
            if field == "bound":  # a row of another name
                assert said.endswith("has no items that it could be computed from")
            else:
                assert said.startswith(
                    f"{_name(table, row.model_dump())}: {field} is {other!r}, the items give "
                )
            if not forged:  # and one from the file on

                def change(stored, place=place, field=field, other=other):
                    _rows(stored)[table][place][field] = other

                assert forge(change) == said
            forged += 1
    assert forged > 10


@pytest.mark.parametrize("table", ["metrics", "comparisons", "ladder", "bounds"])
def test_any_row_that_is_left_out_is_missed(genuine, forge, table):
    rows, computed = _tables(genuine)[table]
    for place, row in enumerate(rows):
        said = _said(table, [*rows[:place], *rows[place + 1 :]], computed)
        assert said == f"{_name(table, row.model_dump())} can be computed from the items and is missing"
    assert forge(lambda stored: _rows(stored)[table].pop()) == said


@pytest.mark.parametrize("table", ["metrics", "comparisons", "ladder", "bounds"])
def test_a_row_that_stands_twice_is_refused_wherever_it_stands(genuine, forge, table):
    """Who reads the first of them must not see a figure that only the second answers for."""
    row = _rows(genuine[1])[table][0]
    field = "difference" if table == "comparisons" else "loss" if table == "ladder" else "value"

    def better(stored):
        _rows(stored)[table].insert(0, row | {field: row[field] - 0.5})

    assert forge(better).startswith(f"{_name(table, row)}: {field} is")
    said = forge(lambda stored: _rows(stored)[table].append(dict(row)))
    assert said == f"{_name(table, row)} (again) has no items that it could be computed from"


def test_a_field_that_is_left_out_is_missed(genuine, forge):
    _, stored, _ = genuine
    optional = {
        "comparisons": ("p", "p_holm", "detectable", "items", "task", "shots"),
        "metrics": ("low", "high", "items", "task", "shots", "method"),
        "ladder": ("bits_per_byte", "exam", "exam_low", "exam_high", "mean_kl", *("tokens_per_second",)),
        "bounds": ("low", "high"),
    }
    for table, fields in optional.items():
        for field in fields:
            place = next(n for n, row in enumerate(_rows(stored)[table]) if row.get(field) is not None)
            row = _rows(stored)[table][place]
            for change in (
                lambda stored: _rows(stored)[table][place].pop(field),  # noqa: B023
                lambda stored: _rows(stored)[table][place].update({field: None}),  # noqa: B023
            ):
                said = forge(change)
                assert said == f"{_name(table, row)}: {field} is None, the items give {row[field]!r}"


def test_a_zero_is_not_the_same_as_nothing(genuine, forge):
    """What is exactly zero may not be left out, and what was not measured may not become a zero."""
    rows = genuine[1]["ladder"]["rows"]
    assert rows[0]["exam_low"] == 0.0
    assert forge(lambda stored: stored["ladder"]["rows"][0].pop("exam_low")).endswith(
        "exam_low is None, the items give 0.0"
    )
    place = next(n for n, row in enumerate(genuine[1]["comparisons"]) if "p_holm" not in row)
    assert forge(lambda stored: stored["comparisons"][place].update(p_holm=0.0)).endswith(
        "p_holm is 0.0, the items give None"
    )


@pytest.mark.parametrize("table", ["metrics", "comparisons", "bounds"])
@pytest.mark.parametrize("direction", [None, True])
def test_a_direction_cannot_be_turned(forge, table, direction):
    """Of the first row of each table less is better; without a direction nothing could be called worse."""
    said = forge(lambda stored: stored[table][0].update(higher_is_better=direction))
    assert said.endswith(f"higher_is_better is {direction}, the items give False")


@pytest.mark.parametrize(
    ("field", "value"), [("recommended", "q8_0"), ("recommended", None), ("max_loss", 0.5)]
)
def test_the_recommended_file_follows_from_the_items(forge, field, value):
    said = forge(lambda stored: stored["ladder"].update({field: value}))
    assert said.startswith(f"ladder: {field} is {value!r}, the items give")


@pytest.mark.parametrize(
    ("subject", "role"),
    [("model-q8_0", "control"), ("model-q8_0", "ours_quantised"), ("ngram", "rival"), ("base", "control")],
)
def test_nobody_leaves_the_comparison_by_another_role(forge, subject, role):
    def other(stored):
        next(row for row in stored["subjects"] if row["subject"] == subject)["role"] = role

    assert forge(other).startswith(f"subjects, {subject}: role is {role!r}, the items give ")


def test_a_whole_table_that_is_left_out_is_missed(forge):
    for table in ("metrics", "comparisons", "bounds"):
        assert forge(lambda stored, table=table: stored.pop(table)).endswith("and is missing")
    assert forge(lambda stored: stored.pop("ladder")).startswith("ladder: recommended is None")


def test_a_bound_that_is_broken_cannot_be_called_kept(forge):
    said = forge(lambda stored: stored["bounds"][0].update(kept=False))
    assert said.endswith("kept is False, the items give True")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda stored: stored["metrics"][3].pop("value"), r"metrics\.3\.value: Field required"),
        (
            lambda stored: stored["comparisons"][1].update(difference="much"),
            r"comparisons\.1\.difference: .*number",
        ),
        (lambda stored: stored["metrics"][3].pop("metric"), "a row lacks the field 'metric'"),
        (lambda stored: stored["subjects"][0].update(role="judge"), r"subjects\.0\.role: "),
    ],
)
def test_a_damaged_row_is_named(forge, change, words):
    assert re.match(words, forge(change))


def test_forged_items_are_found_by_their_figures(tmp_path):
    """Nothing is computed beforehand here: from the file to the figure."""
    bundle = unpack(tmp_path)
    for kind, change, words in (
        ("bits", {"bits": 1.0}, "metrics, trained, bits_per_byte: value is .* the items give"),
        ("leakage", {"extracted": True}, "metrics, trained, extracted:train: value is"),
        ("canaries", {"own": 0.0}, "metrics, trained, exposure:0: value is"),
        ("asked-back", {"said": True}, "metrics, trained, asked_back:said: value is"),
        ("exam", {"correct": True}, r"exam-trained\.jsonl: item .*: correct is True, its scores give False"),
        (
            "exam",
            {"prediction": "none"},
            r"exam-trained\.jsonl: item .*: prediction is 'none', its scores give",
        ),
        ("exam", {"answer": "none"}, "its answer is not that of questions.jsonl"),
        ("exam", {"item": "none"}, "item none is not in questions.jsonl"),
    ):
        path = bundle / "items" / f"{kind}-trained.jsonl"
        kept = path.read_bytes()
        rows = list(read_jsonl(path))
        write_jsonl(path, [rows[0] | change, *rows[1:]])
        with pytest.raises(BundleError, match=words):
            check(bundle)
        path.write_bytes(kept)
    speed = bundle / "items" / "speed-trained-4bit.json"
    item = read_json(speed)
    item["answers"][0]["tokens_per_second"] *= 2
    speed.write_text(json.dumps(item))
    with pytest.raises(BundleError, match="trained-4bit, tokens_per_second: value is"):
        check(bundle)
