"""What a step counts and minimises: one module per objective, named like its row in `recipe/objectives.py`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import Progress
from tinsmith.recipe import OBJECTIVES, ModelConfig, TrainConfig
from tinsmith.tokens.batches import Batch, Batches


class Objective(Protocol):
    """A loss over batches. It returns sums and counts, and the engine normalises over the whole step.

    `shares_prefixes` says whether it reads what sequences share once, which takes less memory.
    """

    shares_prefixes: bool

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Compute once, before the first step, what needs the untrained model or a teacher.

        The directory `cache` belongs to this objective; complete results in it are reused after a crash.
        """

    def num_targets(self, batch: Batch) -> int:
        """Count what the loss sums over: supervised tokens, or pairs."""

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss summed over the targets, a scalar, and further figures as such sums."""


@dataclass(frozen=True)
class Setup:
    """What the modules' `create(setup)` may use to make their objective."""

    config: TrainConfig
    model: ModelConfig
    tokenize: Path  # the directory of the stage tokenize
    progress: Progress


def make_objective(name: str, setup: Setup) -> Objective:
    """Create an objective by its name. Raises TrainingError for an unknown name or a row without a module."""
    module = f"{__name__}.{name}"
    try:
        if name not in OBJECTIVES:
            raise ModuleNotFoundError(name=module)
        objective: Objective = import_module(module).create(setup)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise TrainingError(
            f"the objective {name} needs a row in recipe/objectives.py and a module train/objectives/{name}.py",
            where="train.objective",
            next_step=f"use one of {', '.join(OBJECTIVES)}",
        ) from error
    return objective
