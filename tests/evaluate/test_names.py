"""A role follows a name, so a name that two models could have is refused before a document is read."""

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.names import RESERVED, possible_names, rival_name
from tinsmith.pipeline.build import build
from tinsmith.recipe.toml import parse_recipe


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a build with rivals and endpoints, and makes an empty directory of each rival."""

    def started(*rivals, endpoints=()):
        for rival in rivals:
            (tmp_path / rival).mkdir(parents=True, exist_ok=True)
        evaluate = {
            "rivals": [str(tmp_path / rival) for rival in rivals],
            "endpoints": [{"name": name, "model": "m", "url": "http://127.0.0.1:1"} for name in endpoints],
        }
        data = {"name": "x", "runs": str(tmp_path / "runs"), "ingest": {"sources": ["nowhere"]}}
        # From fresh weights: then no model of the run itself is called base.
        data |= {"model": {"scratch": "llama@1m", "tokenizer": "bpe@1k"}, "evaluate": evaluate}
        build(parse_recipe(data, where="test"), progress=SilentProgress())

    return started


@pytest.mark.parametrize("name", RESERVED)
def test_what_tinsmith_itself_calls_a_model_is_refused(start, tmp_path, name):
    with pytest.raises(RecipeError, match=rf"evaluate\.rivals: two models are called '{name}'"):
        start(name)
    with pytest.raises(RecipeError, match=rf"evaluate\.endpoints\.1\.name: two models are called '{name}'"):
        start(endpoints=("api", name))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("rivals", "endpoints", "twice"),
    [
        (("a/twin", "b/twin"), (), "twin"),
        (("a/twin", "b/twin."), (), "twin"),
        (("other one",), ("other-one",), "other-one"),
        ((), ("api", "api"), "api"),
    ],
)
def test_two_models_of_one_name_are_refused(start, rivals, endpoints, twice):
    with pytest.raises(RecipeError, match=f"two models are called '{twice}'"):
        start(*rivals, endpoints=endpoints)


def test_a_rival_may_be_called_in_a_bundle_what_it_was_called_in_its_build(tmp_path):
    (tmp_path / "some rival").mkdir()
    (tmp_path / "m-q8_0.gguf").touch()
    for rival in (str(tmp_path / "some rival"), str(tmp_path / "m-q8_0.gguf"), "gemma-3-270m", "owner/model"):
        assert rival_name(rival) in possible_names(rival)
