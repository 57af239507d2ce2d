"""Read the examples of each job, and divide them into learnt, validation and test."""

from __future__ import annotations

from pathlib import Path

from tinsmith.base.progress import Progress
from tinsmith.recipe import JobConfig
from tinsmith.stages.stage import Inputs


def examples(
    config: tuple[JobConfig, ...], *, inputs: Inputs, seed: int, out: Path, progress: Progress
) -> dict[str, float]:
    """Write `JOB/{job.json,learn.jsonl,validation.jsonl,test.jsonl}` for each job."""
    raise NotImplementedError
