"""What every stage must keep: an order, a function that takes what the pipeline gives, and light declarations."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT
from tinsmith.recipe import IngestConfig, Recipe
from tinsmith.stages import STAGES

ALWAYS = {"out", "progress"}
INPUTS = {
    "ingest": set(),
    "curate": {"ingest"},
    "split": {"curate"},
    "refine": {"split"},
    "tokenize": {"refine"},
    "train": {"tokenize"},
    "examples": {"refine", "tokenize"},
    "learn": {"examples", "train"},
    "package": {"examples", "learn", "split", "tokenize", "train"},
    "evaluate": {"examples", "ingest", "learn", "package", "refine", "split", "tokenize", "train"},
    "report": {
        "curate",
        "evaluate",
        "examples",
        "ingest",
        "learn",
        "package",
        "refine",
        "split",
        "tokenize",
        "train",
    },
}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_function_takes_what_its_stage_declares(stage):
    recipe = Recipe(name="x", ingest=IngestConfig(sources=(".",)))
    given = stage.arguments(recipe, Path("nowhere")).keys() | ALWAYS
    parameters = inspect.signature(stage.function()).parameters
    required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    assert required <= given <= parameters.keys()
    assert parameters.keys() - given == ({"workers"} if stage.distributed else set())
    assert len(parameters) <= 8


def test_stages_build_on_earlier_ones_and_have_a_section_each():
    names = [stage.name for stage in STAGES]
    for position, stage in enumerate(STAGES):
        assert set(stage.inputs) <= set(names[:position])
        assert stage.section in Recipe.model_fields


def test_stages_read_what_their_functions_need_and_no_more():
    # An input that is left out would leave old results in the cache when it changes.
    assert {stage.name: set(stage.inputs) for stage in STAGES} == INPUTS


def test_settings_hold_single_fields_of_other_sections():
    recipe = Recipe(
        name="x",
        ingest=IngestConfig(sources=(".",)),
        train={"objective": "distil", "streamline": {"vocabulary": 300}},
    )
    (stage,) = [stage for stage in STAGES if stage.name == "tokenize"]
    settings = stage.arguments(recipe, Path("run"))["settings"]
    assert (settings.objective, settings.vocabulary, settings.model) == ("distil", 300, recipe.model)
    assert set(stage.configuration(recipe)) == {
        "tokenize",
        "model",
        "tasks",
        "split.shared_run_words",
        "train.objective",
        "train.streamline.vocabulary",
    }


def test_declarations_import_nothing_heavy():
    heavy = ("torch", "transformers", "daft", "pyarrow", "sklearn", "numba", "httpx")
    code = f"import sys, tinsmith.stages; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_stages_read_no_environment():
    for path in (ROOT / "src" / "tinsmith" / "stages").rglob("*.py"):
        assert not re.search(r"\b(environ|getenv)\b", path.read_text(encoding="utf-8")), path
