"""The stage *refine*: compare and score training documents, and have new ones written."""

from __future__ import annotations

from functools import partial

from tinsmith.base.files import sha256_file
from tinsmith.corpus.readers.sources import find_files
from tinsmith.corpus.steps.teachers import most_sent
from tinsmith.meter.planner import BASE_MEMORY_BYTES, COMPRESSED, CURATE_BYTES_PER_SECOND, Cost, Scale
from tinsmith.recipe import Recipe, RefineConfig
from tinsmith.stages.outbound import Outbound
from tinsmith.stages.sources import look_at
from tinsmith.stages.stage import Stage

STREAMING_BYTES = 0.5e9  # memory of a step, whatever the size of the corpus


def _local_models(recipe: Recipe) -> tuple[str, ...]:
    """Return the models that run here; for those behind an endpoint only the name is known."""
    teachers = recipe.refine.teachers
    return tuple(dict.fromkeys(each.model for each in teachers if each.kind == "local" and each.model))


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    config, corpus = recipe.refine, scale.corpus_bytes
    steps = sum(getattr(config, name) != type(getattr(config, name))() for name in type(config).model_fields)
    waiting = 60 * sum(teacher.max_minutes for teacher in config.teachers)
    seconds = 0.3 + steps * corpus / CURATE_BYTES_PER_SECOND + waiting
    return Cost(seconds, corpus * COMPRESSED, BASE_MEMORY_BYTES + STREAMING_BYTES)


def _file_stamps(recipe: Recipe) -> list[str] | None:
    """Return stamps of evaluation files and exemplars; None if the recipe names neither."""
    from tinsmith.corpus.evaluation_files import find_files as find_evaluation_files

    config, stamps = recipe.refine, []
    if config.contamination.action != "off":
        stamps += [
            f"{path}:{sha256_file(path)}" for path in find_evaluation_files(config.contamination.files)
        ]
    if config.score.kind == "exemplars":
        paths = (file.path for file in find_files(config.score.exemplars.sources).files)
        stamps += [f"{path}:{look_at(path).st_size}:{look_at(path).st_mtime_ns}" for path in paths]
    return stamps or None


def asked(config: RefineConfig) -> dict[str, Outbound]:
    """Return the teachers of enabled steps by step, with the most that each receives."""
    return {
        name: Outbound(
            f"refine.{name}.teacher",
            section.asks,
            partial(most_sent, section),
        )
        for name, section in config.steps.items()
        if section.asks
    }


def _asks(recipe: Recipe) -> tuple[Outbound, ...]:
    return tuple(asked(recipe.refine).values())


STAGE = Stage(
    "refine",
    version=3,
    purpose="learnt from training documents",
    estimate=_estimate,
    inputs=("split",),
    models=_local_models,
    files=_file_stamps,
    asks=_asks,
    resumable=True,
    # What an attempt with another recipe sent has left all the same.
    reusable=("answers/*/sent.jsonl",),
)
