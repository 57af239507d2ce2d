"""The stage *learn*: train a model for each job on its examples."""

from __future__ import annotations

from dataclasses import dataclass

from tinsmith.meter.planner import BASE_MEMORY_BYTES, Cost, Scale
from tinsmith.recipe import Budget, ModelConfig, Recipe
from tinsmith.stages.stage import Stage, of_recipe


@dataclass(frozen=True)
class Settings:
    """What the stage reads beside its own section."""

    model: ModelConfig
    device: str = of_recipe("train.device")
    precision: str = of_recipe("train.precision")


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    seconds = sum(Budget.parse(job.budget).amount for job in recipe.jobs)
    return Cost(10 + seconds, 4.0 * scale.parameters, BASE_MEMORY_BYTES + 16 * scale.parameters)


def _uses(recipe: Recipe, name: str) -> bool:
    """The model of the documents is read only where a job starts from it."""
    return name == "examples" or any(job.start == "documents" for job in recipe.jobs)


def _models(recipe: Recipe) -> tuple[str, ...]:
    return (recipe.model.base,) if any(job.start == "base" for job in recipe.jobs) else ()


STAGE = Stage(
    "learn",
    version=1,
    purpose="learning jobs",
    estimate=_estimate,
    inputs=("examples", "train"),
    uses=_uses,
    settings=Settings,
    models=_models,
    resumable=True,
    nondeterministic=("*/log.jsonl",),
    section="jobs",
)
