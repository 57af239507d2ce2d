"""Old names of renamed keys still work, for recipes, for bundles, and for runs that are cached."""

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.recipe.renamed import RENAMED
from tinsmith.recipe.toml import load_recipe, parse_recipe
from tinsmith.stages import STAGES

VALUES = {"evaluate.asked_back": 3, "evaluate.ladder": True}


def test_every_old_key_is_read_and_reported_once(tmp_path, capsys):
    path = tmp_path / "r.toml"
    path.write_text('name = "r"\n[ingest]\nsources = ["."]\n[evaluate]\nasked_back = 3\n')
    recipe = load_recipe(path, ("evaluate.ladder=true",))
    assert (recipe.evaluate.redacted_values, recipe.evaluate.all_formats) == (3, True)
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: {old} is now called {new}" for old, new in RENAMED.items()
    ]


def test_the_recipe_of_an_old_bundle_is_read_in_silence(capsys):
    stored = parse_recipe({"name": "r", "ingest": {"sources": ["."]}}, where="r").model_dump(mode="json")
    for old, new in RENAMED.items():
        section, field = new.split(".")
        del stored[section][field]
        stored[section][old.split(".")[1]] = VALUES[old]
    recipe = parse_recipe(stored, where="recipe.json")
    assert [getattr(recipe.evaluate, new.split(".")[1]) for new in RENAMED.values()] == list(VALUES.values())
    assert capsys.readouterr().err == ""


def test_both_names_at_once_are_refused():
    evaluate = {"asked_back": 3, "redacted_values": 4}
    with pytest.raises(RecipeError, match=r"evaluate\.asked_back: unknown field"):
        parse_recipe({"name": "r", "ingest": {"sources": ["."]}, "evaluate": evaluate}, where="r")


def test_cache_keys_keep_the_old_names():
    recipe = parse_recipe({"name": "r", "ingest": {"sources": ["."]}}, where="r")
    configurations = {stage.name: stage.configuration(recipe) for stage in STAGES}
    for old, new in RENAMED.items():
        section, field = old.split(".")
        for configuration in (configurations[section], configurations["report"]):
            assert field in configuration[section]
            assert new.split(".")[1] not in configuration[section]
