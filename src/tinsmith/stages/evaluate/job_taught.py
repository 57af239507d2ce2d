"""Teach rivals and an encoder each classification with the examples and the budget of ours, and ask them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from tinsmith.base.assets import Asset, resolve_model
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import Progress
from tinsmith.evaluate.job_baselines import ENCODER, JobData
from tinsmith.evaluate.job_encoder import fine_tuned
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evaluate.models import EvalModel, describe, open_tokenizer
from tinsmith.evaluate.names import rival_name
from tinsmith.evidence.schema import Precision, Role, Subject, taught_alike
from tinsmith.jobs.spec import read_job
from tinsmith.recipe import Budget, EvaluateConfig, TrainConfig
from tinsmith.stages.evaluate.job_store import Answers, JobStore
from tinsmith.stages.evaluate.job_work import JobWork, OpenModel, guessed, scored
from tinsmith.train.job_finish import alike, finish_job

TAUGHT = "taught"  # folder of the stage for rivals in training; nothing of it is kept
_SEARCH = "own search"  # how rivals get their settings; with another answer they are taught again


class Teacher:
    """Teaches others what our model was taught. `learnt` is the directory of the stage *learn*, `out` of this one."""

    def __init__(
        self,
        works: Sequence[JobWork],
        store: JobStore,
        *,
        learnt: Path,
        out: Path,
        train: TrainConfig,
        seed: int,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self.works, self.store, self.learnt, self.out = works, store, learnt, out
        self.train, self.seed, self.precision, self.device = train, seed, precision, device

    def teach_rivals(self, config: EvaluateConfig, progress: Progress) -> list[Subject]:
        """Teach each rival that the recipe names every classification, and ask it; return who was taught.

        Each searches for its own settings within the job's budget, as ours did.
        """
        found = []
        for rival in config.trained_rivals:
            asset = resolve_model(rival)
            subject = taught_alike(rival_name(rival))
            model = EvalModel(subject, f"{asset.name}, same examples and budget", asset.path, asset.licence)
            changes = {"minutes": _minutes(self.works), "role": Role.RIVAL}
            found.append(describe(model, open_tokenizer(model)).model_copy(update=changes))
            asks = {work.name: partial(self._taught, work, model, progress) for work in self.works}
            about = [asset.sha256, _SEARCH, self.train.device, self.train.precision, self.precision]
            self.store.put(subject, "model", about, asks)
        shutil.rmtree(self.out / TAUGHT, ignore_errors=True)
        return found

    def _taught(self, work: JobWork, model: EvalModel, progress: Progress) -> Answers:
        folder = self.out / TAUGHT / model.subject / work.name
        job, rows = alike(work.job), (work.learn, work.validation)
        finish_job(job, model.path, rows, folder, config=self.train, seed=self.seed, progress=progress)
        grader = Grader(read_job(folder))
        trained = EvalModel(model.subject, model.name, folder / "model", model.licence)
        with OpenModel(trained, self.precision, self.device) as opened:
            return scored(work, opened, grader, *work.few(), ())

    def teach_encoder(self, encoder: Asset) -> Subject:
        """Fine-tune an encoder on every classification, and ask it."""
        asks = {work.name: partial(self._encoded, work, encoder) for work in self.works}
        self.store.put(ENCODER, "baseline", [encoder.sha256, *map(self._seconds, self.works)], asks)
        title = f"{encoder.name}, an encoder, fine-tuned"
        return Subject(subject=ENCODER, name=title, role=Role.BASELINE, licence=encoder.licence)

    def _encoded(self, work: JobWork, encoder: Asset) -> Answers:
        data = JobData(work.job.labels, False, work.learn, work.validation, work.test)
        guesses = fine_tuned(data, encoder.path, seconds=self._seconds(work), seed=self.seed)
        return guessed(work, work.questions, guesses)

    def _seconds(self, work: JobWork) -> float:
        """Return how long our model learnt."""
        *_, run = read_jsonl(self.learnt / work.name / "search.jsonl")
        return float(run["seconds"])


def _minutes(works: Sequence[JobWork]) -> float | None:
    """Return the minutes that the jobs may be learnt in; None where a budget is in passes or steps."""
    budgets = [Budget.parse(work.job.config.budget) for work in works]
    timed = all(budget.kind == "seconds" for budget in budgets) and not any(
        work.job.config.passes for work in works
    )
    return sum(budget.amount for budget in budgets) / 60 if timed else None
