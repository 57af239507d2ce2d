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


# The starting weights and those in training, with gradients, two moments and means of weights; budgets in passes or
# steps are unknown.
BYTES_PER_PARAMETER = 32.0
SECONDS_OF_OTHER_BUDGETS = 600.0
ACTIVATION_BYTES = 1e9  # of a micro-batch in a model of 135M parameters


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    """A budget in time is kept; validation, calibration and the model's files take some seconds beside it."""
    budgets = [Budget.parse(job.budget) for job in recipe.jobs]
    seconds = [
        30 + (budget.amount if budget.kind == "seconds" else SECONDS_OF_OTHER_BUDGETS) for budget in budgets
    ]
    width = (scale.parameters / 135e6) ** (2 / 3)
    memory = BASE_MEMORY_BYTES + BYTES_PER_PARAMETER * scale.parameters + ACTIVATION_BYTES * width
    return Cost(sum(seconds), 4.0 * scale.parameters * len(budgets), memory)


def _uses(recipe: Recipe, name: str) -> bool:
    """The model of the documents is read only where a job starts from it."""
    return name == "examples" or any(job.start == "documents" for job in recipe.jobs)


def _models(recipe: Recipe) -> tuple[str, ...]:
    return (recipe.model.base,) if any(job.start == "base" for job in recipe.jobs) else ()


STAGE = Stage(
    "learn",
    version=14,
    purpose="learning jobs",
    estimate=_estimate,
    inputs=("examples", "train"),
    uses=_uses,
    settings=Settings,
    models=_models,
    resumable=True,
    nondeterministic=("*/log.jsonl", "*/search.jsonl"),
    section="jobs",
)
