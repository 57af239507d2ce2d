"""The stage as the pipeline calls it: directories in, a bundle out, statistics returned."""

from pathlib import Path

import pytest

from report.fake_runs import make_recipe, make_runs
from tinsmith.base.errors import RecipeError
from tinsmith.base.files import list_files, read_json
from tinsmith.base.progress import SilentProgress
from tinsmith.stages.report.run import report


def test_stage_fills_the_bundle_and_counts_it(tmp_path: Path) -> None:
    recipe, runs, out = make_recipe(), make_runs(tmp_path / "runs"), tmp_path / "bundle"
    out.mkdir()
    statistics = report(recipe.report, settings=recipe, inputs=runs, out=out, progress=SilentProgress())
    names = {str(name) for name in list_files(out)}
    wanted = {
        "report.html",
        "evidence.json",
        "recipe.json",
        "model/model.safetensors",
        "manifests/evaluate.json",
    }
    assert wanted <= names
    assert statistics["files"] == len(names)
    assert statistics["bytes"] == sum((out / name).stat().st_size for name in names)
    assert read_json(out / "recipe.json")["name"] == "licences"


def test_the_title_of_the_section_counts(tmp_path: Path) -> None:
    recipe, runs, out = (
        make_recipe(report={"title": "Our agreements"}),
        make_runs(tmp_path / "runs"),
        tmp_path / "b",
    )
    out.mkdir()
    report(recipe.report, settings=recipe, inputs=runs, out=out, progress=SilentProgress())
    assert "<h1>Our agreements</h1>" in (out / "report.html").read_text(encoding="utf-8")


def test_unknown_country_is_a_mistake_in_the_recipe(tmp_path: Path) -> None:
    recipe, runs, out = (
        make_recipe(meter={"country": "Germany"}),
        make_runs(tmp_path / "runs"),
        tmp_path / "b",
    )
    out.mkdir()
    with pytest.raises(RecipeError, match="DEU"):
        report(recipe.report, settings=recipe, inputs=runs, out=out, progress=SilentProgress())
