"""Who names a recipe, or a folder around a bundle, is told what to build or what to give."""

from pathlib import Path

import pytest

from tinsmith.base.errors import BundleError
from tinsmith.base.progress import SilentProgress
from tinsmith.run_job import Options, run_job
from tinsmith.serve.api import serve
from tinsmith.serve.find_bundle import expect_bundle


@pytest.fixture
def recipe(tmp_path):
    """Return a recipe in a folder of its own, as `init` writes it."""
    folder = tmp_path / "my job"
    folder.mkdir()
    path = folder / "recipe.toml"
    path.write_text(f'name = "stance"\nruns = "{folder / "runs"}"\n', "utf-8-sig")
    return path


def refused(path: Path) -> str:
    with pytest.raises(BundleError) as error:
        expect_bundle(path)
    return str(error.value)


@pytest.mark.parametrize("inside", ["recipe.toml", "", "runs", "runs/stance", "runs/stance/bundle"])
def test_what_is_not_built_is_to_be_built_first(recipe, inside):
    (recipe.parent / "runs" / "stance").mkdir(parents=True)
    said = refused(recipe.parent / inside)
    assert "not built yet" in said
    assert (
        f"build it first: tinsmith build '{recipe}', then give '{recipe.parent}/runs/stance/bundle'" in said
    )


@pytest.mark.parametrize("inside", ["recipe.toml", "", "runs/stance"])
def test_what_is_built_is_named(recipe, inside):
    bundle = recipe.parent / "runs" / "stance" / "bundle"
    (bundle / "jobs").mkdir(parents=True)
    assert f"give '{bundle}'" in refused(recipe.parent / inside)
    expect_bundle(bundle)


def test_other_paths_are_left_to_who_opens_them(recipe, tmp_path):
    (tmp_path / "model.gguf").touch()
    for path in (tmp_path / "model.gguf", tmp_path / "none", tmp_path):
        expect_bundle(path)
    # A recipe that cannot be read is named all the same.
    recipe.write_text("name =")
    assert refused(recipe).endswith(f"tinsmith build '{recipe}'")


def test_run_and_serve_say_so(recipe, tmp_path):
    with pytest.raises(BundleError, match="build it first: tinsmith build"):
        run_job(recipe, tmp_path / "in.csv", tmp_path / "out.csv", Options(), SilentProgress())
    with pytest.raises(BundleError, match="build it first: tinsmith build"):
        serve(recipe.parent)
