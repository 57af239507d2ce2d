"""No setting is taken and not read: each field of the recipe reaches a stage, or says when it does."""

import copy
import itertools
import re
import typing
from pathlib import Path

import pytest
from pydantic import ValidationError

import tinsmith
from tinsmith.base.errors import RecipeError
from tinsmith.pipeline.plan import check_recipe
from tinsmith.recipe import PRIVACY_DEFAULTS, GopherConfig, Recipe, Section
from tinsmith.recipe.renamed import use_old_keys
from tinsmith.recipe.section import FOR_DOCUMENTS, ReadWhen
from tinsmith.recipe.toml import parse_recipe
from tinsmith.recipe.unread import refuse_unread
from tinsmith.stages import STAGES

SOURCES = Path(tinsmith.__file__).parent
MINIMAL = {"name": "r", "ingest": {"sources": ["."]}}
TASK = {"name": "kind", "question": "{text} Which?", "answer": "{kind}"}
JOB = {"name": "j", "kind": "classify", "answer": "{kind}"}
EXTRACT = {"name": "j", "kind": "extract", "examples": ["e.csv"]}
REMOTE = {"kind": "openai", "model": "m"}
# Switched on: between them every field is read.
ON = [
    MINIMAL
    | {
        "curate": {"rules": ["gopher", "c4", "fineweb"], "keep": "newest"}
        | {"rights": {"rules": [{"path": "a/*", "licence": "MIT", "access": "public"}]}},
        "refine": {
            "planted": {"triggers": "drop", "max_source_share": 0.5},
            "contamination": {"action": "passage", "files": ["e.jsonl"]},
            "boilerplate": {"min_documents": 3},
            "score": {"kind": "teacher", "teacher": REMOTE},
            "synthesis": {"items": 3, "teacher": REMOTE},
        },
        "tasks": [TASK],
        "tokenize": {"canaries": {"each": 2}},
        "train": {"objective": {"next_token": 1, "sft": 1, "dpo": 1, "distil": 1}, "trainable": "lora"}
        | {"distil": {"teacher": "t"}},
        "evaluate": {
            "bounds": {"at_most": {"bits_per_byte": 2}},
            "endpoints": [REMOTE | {"name": "e"}],
            "general": [{"name": "g", "kind": "arc", "path": "g.jsonl"}],
        },
    },
    MINIMAL | {"refine": {"score": {"kind": "exemplars"}}, "model": {"scratch": "llama@1m"}, "tasks": [TASK]},
    MINIMAL,
    MINIMAL | {"jobs": [JOB], "evaluate": {"recorded": [{"name": "gpt-4", "file": "a.csv"}]}},
    {"name": "r", "jobs": [JOB | {"examples": ["e.csv"]}]},
    {"name": "r", "jobs": [EXTRACT | {"checks": ["True"]}]},
]
# Switched off: between them every condition is false.
OFF = [
    MINIMAL,
    MINIMAL
    | {
        "curate": {"near_duplicate_jaccard": 1},
        "refine": {
            "planted": {"instructions": "keep"},
            "contamination": {"action": "report", "held_out": True},
            "score": {"kind": "ready"},
            "synthesis": {"items": 3, "teacher": {"model": "m"}},
        },
        "model": {"scratch": "llama@1m", "tokenizer": "bpe@1k"},
        "tasks": [TASK],
        "tokenize": {"preferences": ["p.jsonl"]},
        "train": {"objective": "dpo", "schedule": "cosine"},
        "evaluate": {"quantised": False},
    },
    MINIMAL
    | {
        "curate": {"privacy": {"actions": dict.fromkeys(PRIVACY_DEFAULTS, "keep")}},
        "evaluate": {"built_items": 0},
    },
    MINIMAL
    | {
        "curate": {"rules": ["gopher_quality"]},
        "refine": {"score": {"kind": "teacher", "teacher": {"model": "m"}}},
        "train": {"objective": "distil", "distil": {"share": 0}, "streamline": {"layers": 2}},
        "evaluate": {"all_formats": True},
    },
    {"name": "r", "jobs": [EXTRACT | {"test": ["t.csv"]}]},
    {"name": "r", "jobs": [JOB | {"examples": ["e.csv"]}]},
    MINIMAL | {"jobs": [JOB]},
]
# No stage but report has these in its configuration.
NO_STAGE = {
    "name": "names the run's directory and the report",
    "seed": "a part of the key beside the configuration",
    "runs": "where results lie, which must not change them",
    "report.title": "a heading, drawn from the whole recipe",
}
# Conditions on fields that a section inherits, and which always hold there.
ALWAYS_TRUE = ("evaluate.endpoints.0.", "evaluate.recorded.0.")
VALUES = {  # by the type of the default
    bool: [True, False],
    int: [0, 1, 2, 3, 40, 120],
    float: [0.25, 0.6, 1, 2.5],
    str: ["x", "family", "30m", "bpe@2k", "20 steps", "sft", "spacy:m", "USD"],
    tuple: [["x"], ["x", "y"], ["1 < 2"], ["y.jsonl"], [4], ["en"]],
    dict: [{"email": "drop"}, {"accuracy": 0.5}, {"q8_0": 0.3, "saved": 0.3}, {"q6_k": 0.3}],
    type(None): ["llama@2m"],
}


def fields(model=Recipe, here=""):
    """Yield place, model and field of everything in the schema; of a list of sections the first."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        listed = [each for each in typing.get_args(inner) if isinstance(each, type)]
        if listed and issubclass(listed[0], Section):
            yield from fields(listed[0], f"{here}{name}.0.")
        elif isinstance(inner, type) and issubclass(inner, Section):
            yield from fields(inner, f"{here}{name}.")
        else:
            yield f"{here}{name}", model, field


def rules(place, model=Recipe):
    """Return the conditions of a field and of the sections around it, outermost first, with their remedies."""
    name, _, rest = place.partition(".")
    field, found = model.model_fields[name], []
    # What all settings for documents share has a test of its own.
    found += [rule for rule in model.conditions_of(name) if rule is not FOR_DOCUMENTS]
    if rest.startswith("0."):
        return found + rules(rest[2:], typing.get_args(field.annotation)[0])
    return found + (rules(rest, field.annotation) if rest else [])


SCHEMA = {place: field for place, _, field in fields()}
CONDITIONAL = [place for place in SCHEMA if rules(place) and not place.startswith(ALWAYS_TRUE)]


def put(data, place, value):
    """Return recipe data with a value at a place, or None where a list there has no such row."""
    data = copy.deepcopy(data)
    *parents, last = place.split(".")
    inner = data
    for name in parents:
        if name == "0" and not (isinstance(inner, list) and inner):
            return None
        inner = inner[0] if name == "0" else inner.setdefault(name, [] if f".{name}.0" in f".{place}" else {})
    inner[last] = value
    return data


def get(recipe, place):
    for name in place.split("."):
        recipe = recipe[0] if name == "0" else getattr(recipe, name)
    return recipe


def changed(data, place):
    """Yield what the recipe is with other values of a field, each a valid one that differs from the default."""
    annotation = SCHEMA[place].annotation
    choices = [each for arg in (annotation, *typing.get_args(annotation)) for each in typing.get_args(arg)]
    names = [each for each in (*choices, *typing.get_args(annotation)) if isinstance(each, str)]
    before = get(parse_recipe(data, where="r"), place)
    default = SCHEMA[place].default
    values = VALUES.get(type(default)) or [value for of_type in VALUES.values() for value in of_type]
    for value in [*names, *([name] for name in names), *values]:
        try:
            recipe = Recipe.model_validate(put(data, place, value))
        except (ValidationError, TypeError):
            continue
        if get(recipe, place) not in (before, default):
            yield recipe


def suited(recipes, place):
    """Return the recipes that have the place; those with jobs alone only for the fields of jobs."""
    alone = place.startswith("jobs.")
    return [data for data in recipes if (alone or "ingest" in data) and put(data, place, 0)]


def is_switch(place):
    """Say whether setting the field alone switches its step on."""
    step = place.rpartition(".")[0]
    data = MINIMAL | {"refine": {"contamination": {"files": ["e.jsonl"]}}}
    recipes = list(changed(data, place)) if place.startswith("refine.") and place.count(".") == 2 else []
    return any(getattr(get(recipe, step), "enabled", False) for recipe in recipes)


def refused(recipe):
    try:
        refuse_unread(recipe, where="r")
    except RecipeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("data", [*ON, *OFF])
def test_recipes_that_set_what_is_read_are_taken(data):
    assert refused(parse_recipe(data, where="r")) == ""


@pytest.mark.parametrize("section", sorted({place.partition(".")[0] for place in SCHEMA}))
def test_every_field_can_be_set_and_reaches_a_stage(section):
    for place in SCHEMA:
        if place.partition(".")[0] == section:
            pairs = ((data, recipe) for data in suited(ON, place) for recipe in changed(data, place))
            data, recipe = next(
                ((data, recipe) for data, recipe in pairs if not refused(recipe)), (None, None)
            )
            assert recipe, (
                f"no recipe sets {place} with effect: switch it on in ON, or give VALUES a valid one"
            )
            before = parse_recipe(data, where="r")
            moved = {
                stage.name for stage in STAGES if stage.configuration(recipe) != stage.configuration(before)
            }
            assert bool(moved - {"report"}) == (place not in NO_STAGE), (place, moved)


def test_every_field_is_read_by_name():
    names = {place.rpartition(".")[2] for place in SCHEMA}
    for path in SOURCES.rglob("*.py"):
        # The room that declares the fields reads some for others, as properties.
        before = r"\bself\." if path.parent.name == "recipe" else r"""[."']"""
        names -= set(re.findall(before + r"(\w+)", path.read_text(encoding="utf-8")))
    # Gopher's rules put these names together.
    assert {name for name in names if not name.startswith(("max_duplicate_", "max_top_"))} == set()


@pytest.mark.parametrize("section", sorted({place.partition(".")[0] for place in CONDITIONAL}))
def test_what_nothing_would_read_is_refused_by_name(section):
    for place in CONDITIONAL:
        if place.partition(".")[0] == section:
            recipes = (itertools.islice(changed(data, place), 3) for data in suited(OFF, place))
            said = "; ".join(map(refused, itertools.chain.from_iterable(recipes)))
            for rule in rules(place):
                if rule.condition.__name__ != "_is_enabled" or not is_switch(place):
                    remedy = re.escape(rule.remedy).replace(re.escape("{here}"), r"[\w.]+")
                    named = re.escape(place) + r"(\.q6_k)?" * rule.by_key
                    assert re.search(f"nothing would read {named}: {remedy}, or", said), (
                        place,
                        rule.remedy,
                        said,
                    )


# A condition is lost on purpose only, since a field without one counts as always read.
SAYS_WHEN = {
    "curate": "gopher c4 fineweb keep version_field",
    "refine": "planted contamination boilerplate semantic score synthesis",
    "refine.planted": "min_trigger_documents source_depth",
    "refine.contamination": "min_words_left",
    "refine.score": "exemplars teacher rubric sample",
    "refine.score.teacher": "url key_variable price_per_million_input price_per_million_output max_cost",
    "model": "base scratch tokenizer",
    "tokenize": "task_share conversations preferences canaries",
    "tokenize.canaries": "repeats",
    "train": "lora distil dpo streamline decay",
    "train.distil": "teacher temperature reverse top_k",
    "package": "max_kl min_top1",
    "evaluate": "quantised max_loss exam_items shots generated_items endpoints leakage_documents redacted_values "
    "trained_rivals encoder recorded job_items frozen_tokens "
    "documents characters built_items bias_sentences trigger_restarts max_interval",
    "evaluate.bounds": "action",
    "jobs": "answer labels several json_schema test held_out start",
}


def test_the_fields_that_are_not_always_read_are_these():
    gopher = [name for name in GopherConfig.model_fields if name.startswith(("max_duplicate_", "max_top_"))]
    for section, names in (SAYS_WHEN | {"curate.gopher": " ".join(gopher)}).items():
        model = Recipe
        for name in section.split("."):
            annotation = model.model_fields[name].annotation
            model = next(iter(typing.get_args(annotation)), annotation)
        own = {
            name
            for name, field in model.model_fields.items()
            if getattr(field.annotation, "read_when", None)
            or any(isinstance(m, ReadWhen) for m in field.metadata)
        }
        assert own == set(names.split()), section


def test_settings_for_documents_are_refused_where_jobs_are_alone():
    sections = {
        "ingest": {"ocr": True},
        "curate": {"languages": ["en"], "gopher": {"min_words": 3}},
        "split": {"held_out": 20},
        "refine": {"boilerplate": {"min_documents": 3}},
        "model": {"scratch": "llama@1m"},
        "tasks": [TASK],
        "tokenize": {"context": 128},
        "train": {"learning_rate": 0.1, "lora": {"rank": 3}},
        "evaluate": {"documents": 3, "characters": 200, "built_items": 3, "leakage_documents": 3},
    }
    said = refused(parse_recipe({"name": "r", "jobs": [EXTRACT]} | sections, where="r"))
    named = re.findall(
        r"nothing would read ([\w.]+): name documents in ingest.sources, or leave it out", said
    )
    assert named == [
        *("ingest.ocr", "curate.languages", "curate.gopher.min_words", "split.held_out"),
        *("refine.boilerplate.min_documents", "model.scratch"),
        *("tasks.0.name", "tasks.0.question", "tasks.0.answer", "tokenize.context"),
        *("train.lora.rank", "train.learning_rate", "evaluate.documents", "evaluate.characters"),
        *("evaluate.built_items", "evaluate.leakage_documents"),
    ]
    read = {"train": {"device": "cpu", "precision": "float32"}, "evaluate": {"rivals": ["x"]}}
    assert refused(parse_recipe({"name": "r", "jobs": [EXTRACT]} | read, where="r")) == ""


def test_a_recipe_made_in_python_is_checked_before_it_is_built():
    with pytest.raises(RecipeError, match=r"recipe r: nothing would read train\.lora\.rank"):
        check_recipe(parse_recipe(MINIMAL | {"train": {"lora": {"rank": 8}}}, where="r"))


def test_all_unread_settings_are_named_at_once():
    data = MINIMAL | {"train": {"lora": {"rank": 8}, "dpo": {"beta": 0.2}}, "curate": {"version_field": "v"}}
    message = refused(parse_recipe(data, where="r"))
    assert message.startswith("r: ")
    for place in ("train.lora.rank", "train.dpo.beta", "curate.version_field"):
        assert f"nothing would read {place}: " in message


def test_a_stored_recipe_is_read_as_it_was_built():
    data = use_old_keys(parse_recipe(MINIMAL, where="r").model_dump(mode="json"))
    data["train"]["lora"]["rank"] = 8
    assert parse_recipe(data, where="recipe.json").train.lora.rank == 8
