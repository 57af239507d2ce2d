import tomllib
from pathlib import Path

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.recipe import OBJECTIVES, Budget, Recipe, TrainConfig
from tinsmith.recipe.toml import load_recipe, parse_recipe, render_recipe, write_recipe

ROOT = Path(__file__).parents[2]
MINIMAL = {"name": "r", "ingest": {"sources": ["."]}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": {"lrr": 1}}, "train.lrr: unknown field"),
        ({"train": {"learning_rat": 1}}, "did you mean learning_rate"),
        ({"tran": {}}, "tran: unknown field; did you mean train"),
        ({"tasks": [{"name": "a", "questio": "x", "answer": "y"}]}, "did you mean question"),
        ({"train": {"learning_rate": -1}}, "train.learning_rate: Input should be greater than 0"),
        ({"train": {"budget": "8 parsecs"}}, "cannot read the budget '8 parsecs'; write 8m"),
        ({"train": {"budget": "0m"}}, "cannot read the budget"),
        ({"train": {"budget": "3k epochs"}}, "cannot read the budget"),
        ({"ingest": {"sources": []}}, "ingest.sources"),
        ({"name": "../up"}, "name"),
    ],
)
def test_a_bad_field_is_named_with_what_to_do(data, message):
    with pytest.raises(RecipeError, match=message.replace("(", r"\(").replace("'", "'")) as caught:
        parse_recipe(MINIMAL | data, where="r.toml")
    assert str(caught.value).startswith("r.toml: ")
    assert "->" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("8m", "seconds", 480),
        ("1.5h", "seconds", 5400),
        ("90s", "seconds", 90),
        ("200k tokens", "tokens", 200_000),
        ("2M tokens", "tokens", 2_000_000),
        ("20 steps", "steps", 20),
        ("0.5 epochs", "epochs", 0.5),
    ],
)
def test_budgets(text, kind, amount):
    assert Budget.parse(text) == Budget(kind=kind, amount=amount)


def test_overrides_reach_their_field_and_bad_ones_are_refused(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('name = "r"\n[ingest]\nsources = ["."]\n')
    recipe = load_recipe(
        path, ("train.budget=20m", "train.learning_rate=0.1", "ingest.exclude=['a']", "seed=3")
    )
    assert recipe.train.budget == "20m"
    assert recipe.train.learning_rate == 0.1
    assert recipe.ingest.exclude == ("a",)
    assert recipe.seed == 3
    for bad in ("train.budget", "=3", "name.x=3"):
        with pytest.raises(RecipeError, match="--set"):
            load_recipe(path, (bad,))


def test_overrides_reach_one_of_several_jobs(tmp_path):
    path = tmp_path / "r.toml"
    job = '[[jobs]]\nname = "%s"\nkind = "classify"\nanswer = "{x}"\nexamples = ["e.csv"]\n'
    path.write_text('name = "r"\n' + job % "first" + job % "second")
    recipe = load_recipe(path, ("jobs.1.budget=3m",))
    assert [job.budget for job in recipe.jobs] == ["20m", "3m"]
    for bad in ("jobs.2.budget=3m", "jobs.x.budget=3m", "jobs.0=3"):
        with pytest.raises(RecipeError, match="--set"):
            load_recipe(path, (bad,))


def test_missing_damaged_and_binary_recipes(tmp_path):
    with pytest.raises(RecipeError, match=r"no such recipe(.|\n)*tinsmith init"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")
    (tmp_path / "bin.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "bin.toml")


def test_a_recipe_may_begin_with_a_mark_of_utf8(tmp_path):
    path = tmp_path / "marked.toml"
    path.write_text('name = "marked"\n[ingest]\nsources = ["d"]\n', encoding="utf-8-sig")
    assert load_recipe(path).name == "marked"


def test_a_written_recipe_loads_and_names_every_field(tmp_path):
    (tmp_path / "my docs").mkdir()
    path = write_recipe(tmp_path / "new", str(tmp_path / "my docs"))
    recipe = load_recipe(path)
    assert recipe.ingest.sources == (str(tmp_path / "my docs"),)
    text = path.read_text()
    for section, field in Recipe.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            assert f"[{section}]" in text
            assert all(f"{name}" in text for name in field.annotation.model_fields)
    with pytest.raises(RecipeError, match="exists already"):
        write_recipe(tmp_path / "new", str(tmp_path / "my docs"))
    for misspelt in (str(tmp_path / "nowhere"), "licence-agreement"):
        with pytest.raises(RecipeError, match="no such file, folder or known corpus"):
            write_recipe(tmp_path / "other", misspelt)
    recipe = load_recipe(write_recipe(tmp_path / "corpus", "licence-agreements"))
    assert recipe.ingest.sources == ("licence-agreements",)
    recipe = load_recipe(write_recipe(tmp_path / "glob", "notes/*.txt"))
    assert recipe.ingest.sources == (str(Path.cwd() / "notes/*.txt"),)


def test_the_defaults_written_as_comments_are_the_defaults(tmp_path):
    lines = render_recipe("r", ".", runs="runs").splitlines()
    live = [
        line[2:] if line.startswith("# ") and (" = " in line or line[2] == "[") and "[[" not in line else line
        for line in lines
    ]
    live = live[: next(i for i, line in enumerate(live) if line.startswith("# A task"))]
    advised = {"trainable": "lora", "learning_rate": 0.002, "batch_tokens": 1024}
    assert parse_recipe(tomllib.loads("\n".join(live[1:])), where="r") == parse_recipe(
        {"name": "r", "runs": "runs", "ingest": {"sources": ["."]}, "train": advised}, where="r"
    )
    text = "\n".join(lines)
    for name, value in advised.items():
        (line,) = [line for line in lines if line.startswith(f"{name} = ")]
        default = getattr(TrainConfig(), name)
        assert line.endswith(f'default "{default}"' if isinstance(value, str) else f"default {default}")
    assert "# budget = " in text


def test_the_projects_own_recipes_load():
    found = [path for folder in ("recipes", "benchmarks/recipes") for path in (ROOT / folder).glob("*.toml")]
    assert len(found) > 4
    for path in found:
        assert load_recipe(path).name


@pytest.mark.parametrize(
    ("section", "field", "value", "said"),
    [
        ("model", "scratch", "lama@15m", "unknown family lama; use one of llama, qwen3"),
        ("train", "objective", "stf", f"write one of {', '.join(OBJECTIVES)}, or a mixture"),
        ("train", "objective", {"next_token": 0.5, "stf": 0.5}, f"write one of {', '.join(OBJECTIVES)}"),
        ("train", "objective", {}, f"write one of {', '.join(OBJECTIVES)}"),
    ],
)
def test_what_is_misspelt_is_answered_with_what_there_is(section, field, value, said):
    data = {"name": "r", "ingest": {"sources": ["."]}, section: {field: value}}
    with pytest.raises(RecipeError) as error:
        parse_recipe(data, where="r")
    assert f"r: {section}.{field}: {said}" in str(error.value)
    assert "literal" not in str(error.value)


def test_a_mistake_between_fields_does_not_show_the_whole_section():
    data = {"name": "r", "ingest": {"sources": ["."]}, "train": {"objective": "distil", "budget": "9m"}}
    with pytest.raises(RecipeError, match=r"train: name distil\.teacher") as error:
        parse_recipe(data, where="r")
    assert "9m" not in str(error.value)


def test_adapters_beside_fresh_weights_are_refused():
    sections = {"train": {"trainable": "lora"}, "model": {"scratch": "llama@1m"}}
    with pytest.raises(
        RecipeError, match=r"r: train\.trainable = 'lora' would leave the fresh weights"
    ) as error:
        parse_recipe({"name": "r", "ingest": {"sources": ["."]}, **sections}, where="r")
    assert "ingest" not in str(error.value), "the whole recipe is shown"


def test_a_loaded_recipe_sets_nothing_that_is_not_read(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('name = "r"\n[ingest]\nsources = ["."]\n')
    with pytest.raises(
        RecipeError, match=r"r\.toml: nothing would read train\.lora\.rank: set train\.trainable"
    ):
        load_recipe(path, ("train.lora.rank=8",))
