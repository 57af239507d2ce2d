"""Train a model for each job on its examples."""

from __future__ import annotations

import shutil
from pathlib import Path

from tinsmith.base.assets import resolve_model
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import Progress
from tinsmith.jobs.spec import FILE, read_job
from tinsmith.recipe import JobConfig, TrainConfig
from tinsmith.stages.learn import Settings
from tinsmith.stages.stage import Inputs
from tinsmith.train.job_finish import WORK, finish_job, job_statistics

CHECKPOINT_SECONDS = 180.0  # a run takes minutes, and a checkpoint with its moments some seconds


def learn(
    config: tuple[JobConfig, ...],
    *,
    settings: Settings,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Write `JOB/model/`, `JOB/job.json` and what was found on the way for each job; resume after a crash.

    Raises AssetError for the base, RecipeError and TrainingError for a job that cannot be learnt.
    """
    train = TrainConfig.model_validate(
        {"device": settings.device, "precision": settings.precision, "checkpoint_seconds": CHECKPOINT_SECONDS}
    )
    statistics: dict[str, float] = {}
    for job in config:
        directory, examples = out / job.name, inputs["examples"] / job.name
        # job.json is written last.
        if not (directory / FILE).exists():
            from_documents = job.start == "documents"
            start = inputs["train"] / "model" if from_documents else resolve_model(settings.model.base).path
            rows = [list(read_jsonl(examples / f"{part}.jsonl")) for part in ("learn", "validation")]
            progress.say(f"  {job.name}: {len(rows[0])} examples, and {len(rows[1])} to validate with")
            finish_job(
                read_job(examples),
                start,
                (rows[0], rows[1]),
                directory,
                config=train,
                seed=seed,
                progress=progress,
            )
        shutil.rmtree(directory / WORK, ignore_errors=True)
        statistics |= {f"{job.name}_{name}": value for name, value in job_statistics(directory).items()}
    return statistics
