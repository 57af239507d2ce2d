"""The stage train as one of two processes runs it, for tests that compare it with one process alone."""

from __future__ import annotations

from pathlib import Path

import tinsmith.stages.train.run as stage
from tinsmith.base.launch import WorkerGroup
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import ModelConfig, TrainConfig
from tinsmith.stages.train import Settings


def train_stage(
    directory: Path, section: TrainConfig, out: str, workers: WorkerGroup | None = None
) -> dict[str, float]:
    """Train `directory/base` on `directory/tokens` into `directory/OUT`; return the statistics."""
    (directory / out).mkdir(exist_ok=True)
    return stage.train(
        section,
        settings=Settings(ModelConfig(base=str(directory / "base"))),
        inputs={"tokenize": directory / "tokens"},
        seed=7,
        out=directory / out,
        progress=SilentProgress(),
        workers=workers,
    )


def train_stage_together(workers: WorkerGroup, directory: Path) -> None:
    """Train with the section in `directory/section.json` into `directory/together`."""
    section = TrainConfig.model_validate_json((directory / "section.json").read_text())
    train_stage(directory, section, "together", workers)
