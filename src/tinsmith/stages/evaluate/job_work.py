"""A finished job with its rows, an open model, and the answers of a model that scores labels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from tinsmith.base.assets import model_sha256
from tinsmith.base.errors import CorpusError
from tinsmith.base.files import JsonObject, read_jsonl, sha256_json
from tinsmith.evaluate.job_baselines import Guess
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evaluate.job_models import label_log_p
from tinsmith.evaluate.models import EvalModel, open_tokenizer, opened
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evidence.items import JobQuestion
from tinsmith.evidence.schema import Precision
from tinsmith.jobs.spec import Calibration, Job, read_job
from tinsmith.recipe import EvaluateConfig
from tinsmith.serve.job_model import find_jobs
from tinsmith.stages.evaluate.job_store import Answers, metered
from tinsmith.stages.stage import Inputs


@dataclass(frozen=True)
class JobWork:
    """One finished job: its directory in *package*, its rows, and the questions that are stored."""

    job: Job
    directory: Path
    learn: Sequence[JsonObject]
    validation: Sequence[JsonObject]
    test: Sequence[JsonObject]
    questions: Sequence[JobQuestion]
    asked: Sequence[int]  # places of the test rows that slow systems are asked

    @property
    def name(self) -> str:
        """Return the job's name."""
        return self.job.config.name

    @property
    def has_one_label(self) -> bool:
        """Say whether the answer is one label, so that models give each a probability."""
        return self.job.config.kind == "classify" and not self.job.config.several

    def judged_by(self, calibration: Calibration) -> Grader:
        """Return the grader of a system that is calibrated otherwise than our model."""
        return Grader(self.job.model_copy(update={"calibration": calibration}))

    def few(self) -> tuple[list[JsonObject], list[JobQuestion]]:
        """Return the rows that slow systems are asked, and their questions."""
        return [self.test[i] for i in self.asked], [self.questions[i] for i in self.asked]


def read_jobs(config: EvaluateConfig, inputs: Inputs, seed: int) -> Iterator[JobWork]:
    """Yield the finished jobs. Raises CorpusError for a test of fewer than two groups."""
    for name, directory in find_jobs(inputs["package"]).items():
        job, folder = read_job(directory), inputs["examples"] / name
        learn, validation, test = (
            list(read_jsonl(folder / f"{side}.jsonl")) for side in ("learn", "validation", "test")
        )
        questions = [_question(job, row) for row in test]
        if len({question["group"] for question in questions}) < 2:
            raise CorpusError(
                f"the test of {name} has {len(questions)} row(s) of fewer than 2 groups, which give no interval",
                where=f"jobs.{name}",
                next_step="name more rows in `test`, or raise `held_out`",
            )
        drawn = np.random.default_rng(seed).permutation(len(questions))[: config.job_items]
        yield JobWork(job, directory, learn, validation, test, questions, sorted(drawn.tolist()))


def _question(job: Job, row: JsonObject) -> JobQuestion:
    question: JobQuestion = {
        "job": job.config.name,
        "id": row["id"],
        "group": row["group"],
        "input": row["input"],
        "answer": row["answer"],
        "shared": bool(row.get("shared")),
    }
    if job.config.kind != "classify" or "{" in job.config.question:
        question["record"] = row.get("record", {})
    return question


class OpenModel:
    """A model and its tokenizer for a `with` block; its weights are opened when they are first asked for."""

    def __init__(self, model: EvalModel, precision: Precision, device: torch.device) -> None:
        self.model, self.tokenizer = model, open_tokenizer(model)
        self.sha256 = sha256_json([model_sha256(model.path), precision, device.type])
        self._open = partial(opened, model, precision, device)
        self._stack = contextlib.ExitStack()

    @cached_property
    def scorer(self) -> Scorer:
        """Return its open weights."""
        return self._stack.enter_context(self._open())

    def __enter__(self) -> OpenModel:
        return self

    def __exit__(self, *error: object) -> None:
        self.__dict__.pop("scorer", None)
        self._stack.close()


def scored(
    work: JobWork,
    model: OpenModel,
    grader: Grader,
    rows: Sequence[JsonObject],
    questions: Sequence[JobQuestion],
    shown: Sequence[JsonObject],
) -> Answers:
    """Let a model give each label of each row a probability, asked as the grader's job is."""
    scorer = model.scorer
    with metered() as cost:
        found = label_log_p(scorer, model.tokenizer, grader.job, rows, shown)
    stored = [grader.chosen(*pair) for pair in zip(questions, found, strict=True)]
    return Answers(stored, cost, grader.job.calibration)


def guessed(work: JobWork, questions: Sequence[JobQuestion], guesses: Sequence[Guess]) -> Answers:
    """Return the answers of a baseline."""
    grader = work.judged_by(Calibration())
    rows = [
        grader.chosen(question, guess.log_p) if guess.log_p else grader.said(question, guess.answer)
        for question, guess in zip(questions, guesses, strict=True)
    ]
    return Answers(rows)
