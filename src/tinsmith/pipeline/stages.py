"""The table of stages: what each reads, whether it goes on after a kill, and what of its outputs is measured."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinsmith.recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """One row of the table: which parts of the recipe, files and earlier stages a stage reads.

    Beside the section of its own name it reads `sections`: whole ones, or fields of others, by dotted name.
    """

    name: str
    version: int
    inputs: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    models: Callable[[Recipe], tuple[str, ...]] = lambda recipe: ()
    # What changes when a file of the person's own does, for files that the stage opens.
    files: Callable[[Recipe], list[str] | None] = lambda recipe: None
    seeded: bool = True
    resumable: bool = False
    # Outputs that bear a fingerprint of all they hang on: an attempt of another recipe takes them up too.
    keeps: tuple[str, ...] = ()
    # Several processes, where there are several, work on it together.
    shared: bool = False
    # Gets the list of what a person wants forgotten, and hangs on it.
    forgets: bool = False
    # Outputs in which equal work gives other bytes: seconds, a server's rounding.
    measured: tuple[str, ...] = ()

    @property
    def directory(self) -> str:
        """Return the name of the directory that the stage makes."""
        return "bundle" if self.name == "report" else self.name


def _base(recipe: Recipe) -> tuple[str, ...]:
    # Fresh weights begin with no base; their tokenizer may, which is the stage tokenize's affair.
    return () if recipe.model.scratch else (recipe.model.base,)


def _base_and_teacher(recipe: Recipe) -> tuple[str, ...]:
    teacher = recipe.train.distil.teacher if recipe.train.has_teacher else ""
    return (*_base(recipe), *([teacher] if teacher else []))


def _vocabulary(recipe: Recipe) -> tuple[str, ...]:
    return (recipe.model.base,) if recipe.model.tokenizer == "base" else ()


def _sources(recipe: Recipe) -> list[str] | None:
    from tinsmith.stages.sources import source_stamps

    return source_stamps(recipe.ingest)


def _register(recipe: Recipe) -> list[str] | None:
    from tinsmith.stages.sources import register_stamp

    return register_stamp(recipe.curate.rights)


def _compared(recipe: Recipe) -> list[str] | None:
    from tinsmith.stages.sources import compared_stamps

    return compared_stamps(recipe.refine)


def _teachers(recipe: Recipe) -> tuple[str, ...]:
    """Return the models that are asked here; those behind an endpoint are known by name alone."""
    refine = recipe.refine
    asked = [refine.score.teacher] if refine.score.kind == "teacher" else []
    asked += [refine.synthesis.teacher] if refine.synthesis.items else []
    return tuple(dict.fromkeys(each.model for each in asked if each.kind == "local" and each.model))


def _examples(recipe: Recipe) -> list[str] | None:
    from tinsmith.stages.sources import example_stamps

    return example_stamps(recipe)


def _questions(recipe: Recipe) -> list[str] | None:
    from tinsmith.stages.sources import question_stamps

    return question_stamps(recipe.evaluate)


def _subjects(recipe: Recipe) -> tuple[str, ...]:
    return (*_base(recipe), *recipe.evaluate.rivals)


STAGES = (
    Stage("ingest", 2, files=_sources, seeded=False, forgets=True, measured=("files.jsonl",)),
    Stage("curate", 2, inputs=("ingest",), files=_register, forgets=True),
    Stage("split", 1, inputs=("curate",)),
    Stage("refine", 1, inputs=("split",), models=_teachers, files=_compared, resumable=True),
    Stage(
        "tokenize",
        1,
        inputs=("refine",),
        sections=(
            "model",
            "tasks",
            "split.shared_run_words",
            "train.objective",
            "train.streamline.vocabulary",
        ),
        models=_vocabulary,
        files=_examples,
    ),
    Stage(
        "train",
        1,
        inputs=("tokenize",),
        sections=("model",),
        models=_base_and_teacher,
        resumable=True,
        shared=True,
        measured=("log.jsonl", "schedule.jsonl", "rollbacks.jsonl", "streamline.json", "adapters.json"),
    ),
    Stage(
        "package",
        1,
        inputs=("split", "tokenize", "train"),
        measured=("parity.json", "items/parity.jsonl"),
    ),
    Stage(
        "evaluate",
        3,
        inputs=("ingest", "split", "refine", "tokenize", "train", "package"),
        sections=("model", "tasks", "meter"),
        models=_subjects,
        files=_questions,
        resumable=True,
        keeps=tuple(
            f"items/{kind}-*.json*"
            for kind in (
                "about",
                "bits",
                "exam",
                "leakage",
                "canaries",
                "asked-back",
                "bias",
                "triggers",
                "general",
            )
        ),
    ),
    Stage(
        "report",
        1,
        inputs=("ingest", "curate", "split", "refine", "tokenize", "train", "package", "evaluate"),
    ),
)


def configuration(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    """Return the parts of a recipe that a stage depends on, by name."""
    everything = recipe.model_dump(mode="json")
    if stage.name == "report":
        return {k: v for k, v in everything.items() if k != "runs"}
    return {
        section: functools.reduce(operator.getitem, section.split("."), everything)
        for section in (stage.name, *stage.sections)
    }
