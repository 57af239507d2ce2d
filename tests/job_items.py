"""Items of a job as the stage evaluate stores them: planted answers of several subjects to the same test rows."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinsmith.base.files import write_json, write_jsonl
from tinsmith.evaluate.job_grades import QUESTIONS, Grader
from tinsmith.evidence.items import JobQuestion
from tinsmith.jobs.spec import Calibration, Job
from tinsmith.recipe import JobConfig

LABELS = ("dovish", "hawkish", "neutral")
UNKNOWN = {
    "rows": 60,
    "seconds": 3.0,
    "joules": (30.0, 20.0, 40.0),
    "method": "modelled",
    "price_per_1000": None,
    "calibration": None,
    "recorded": None,
}


def make_job(name: str = "stance", *, least: float = 0.0, **config: Any) -> Job:
    """Return a finished classification with a calibration that does something."""
    given = {"name": name, "kind": "classify", "answer": "{label}", "labels": LABELS, "examples": ("e.csv",)}
    prior = dict(zip(LABELS, (-0.5, -1.5, -1.7), strict=True))
    calibration = Calibration(temperature=1.5, prior_weight=1.0, prior=prior, least_confidence=least)
    return Job(config=JobConfig(**(given | config)), labels=LABELS, calibration=calibration)


def make_questions(
    rows: int = 60, *, name: str = "stance", groups: int = 20, shared: int = 0
) -> list[JobQuestion]:
    """Return test rows: half neutral, the first `shared` of them also among the examples."""
    draw = random.Random(5)
    return [
        {
            "job": name,
            "id": f"r{n:03d}",
            "group": f"g{n % groups}",
            "input": f"Sentence {n} about rates.",
            "answer": draw.choice(("neutral", "neutral", "dovish", "hawkish")),
            "shared": n < shared,
        }
        for n in range(rows)
    ]


def sure_rows(job: Job, questions: Sequence[JobQuestion], *, right: float, seed: int = 1) -> list[Any]:
    """Return rows of a model that finds the right label likeliest in about that share of rows."""
    draw, grader, rows = random.Random(seed), Grader(job), []
    for question in questions:
        named = question["answer"] if draw.random() < right else draw.choice(LABELS)
        weights = {label: draw.random() + 2.0 * (label == named) for label in LABELS}
        total = sum(weights.values())
        prior, heat = job.calibration.prior, job.calibration.temperature
        log_p = {
            label: heat * math.log(weight / total) + job.calibration.prior_weight * prior.get(label, 0.0)
            for label, weight in weights.items()
        }
        rows.append(grader.chosen(question, log_p))
    return rows


def said_rows(job: Job, questions: Sequence[JobQuestion], *, right: float, seed: int = 2) -> list[Any]:
    """Return rows of a system that says its answer alone."""
    draw, grader = random.Random(seed), Grader(job)
    return [
        grader.said(question, question["answer"] if draw.random() < right else draw.choice(LABELS))
        for question in questions
    ]


def store_job(
    folder: Path,
    job: Job,
    questions: Sequence[JobQuestion],
    rows: Mapping[str, Sequence[Any]],
    systems: Mapping[str, str] | None = None,
) -> None:
    """Write job, questions, and each subject's rows with what it is: a model unless `systems` says otherwise."""
    name = job.config.name
    write_jsonl(folder / QUESTIONS, questions)
    (folder / "jobs" / name).mkdir(parents=True, exist_ok=True)
    job.write(folder / "jobs" / name)
    for subject, own in rows.items():
        system = (systems or {}).get(subject, "model")
        if system == "recorded":
            own = [row | {"raw": row["prediction"]} if row["raw"] is None else row for row in own]
        write_jsonl(folder / f"job-{subject}.jsonl", own)
        about = {"fingerprint": "x", "system": system, "jobs": {name: UNKNOWN | {"rows": len(own)}}}
        write_json(folder / f"job-{subject}.json", about)
