"""Train a model for each job on its examples."""

from __future__ import annotations

from pathlib import Path

from tinsmith.base.progress import Progress
from tinsmith.recipe import JobConfig
from tinsmith.stages.learn import Settings
from tinsmith.stages.stage import Inputs


def learn(
    config: tuple[JobConfig, ...],
    *,
    settings: Settings,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Write `JOB/model/` and `JOB/job.json` for each job."""
    raise NotImplementedError
