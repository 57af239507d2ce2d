"""Grade a job's answers: what is right, and which prediction and confidence follow from the labels' probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinsmith.base.files import read_jsonl
from tinsmith.evidence.items import JobAnswer, JobQuestion, JobRow
from tinsmith.jobs.answers import UNREADABLE, read_label, read_labels
from tinsmith.jobs.calibration import confidence, needs_a_person
from tinsmith.jobs.spec import Job

QUESTIONS = "jobs.jsonl"


def read_job_questions(items: Path) -> dict[str, list[JobQuestion]]:
    """Return the test rows of each job; none where the bundle holds no job."""
    path = items / QUESTIONS
    found: dict[str, list[JobQuestion]] = {}
    for row in read_jsonl(path) if path.is_file() else ():
        found.setdefault(row["job"], []).append(row)  # type: ignore[arg-type]
    return found


def likeliest(scores: Mapping[str, float]) -> str:
    """Return the most probable label; of equals the first in the order of the labels."""
    return max(scores, key=lambda label: scores[label])


def grade(job: Job, answer: JobAnswer, prediction: JobAnswer) -> bool | float:
    """Say whether a prediction is right, or how much of it."""
    if job.config.several and isinstance(answer, list) and isinstance(prediction, list):
        return sorted(answer) == sorted(prediction)
    return prediction == answer


def read_words(job: Job, raw: str) -> JobAnswer:
    """Return what an answer in words says; empty where it cannot be read."""
    if job.config.several:
        return read_labels(job.labels, raw) or ([] if read_label(["none"], raw) else UNREADABLE)
    return read_label(job.labels, raw)


def chosen(job: Job, question: JobQuestion, log_p: Mapping[str, float]) -> JobRow:
    """Return the row of a model that gives each label a ln p; the job's calibration makes it a confidence."""
    scores = confidence(job, log_p)
    prediction = likeliest(scores)
    row = said(job, question, prediction)
    sure = scores[prediction]
    row["log_p"], row["scores"] = dict(log_p), scores
    row["confidence"], row["given"] = sure, not needs_a_person(job, sure)
    return row


def said(job: Job, question: JobQuestion, prediction: JobAnswer, raw: str | None = None) -> JobRow:
    """Return the row of a system that says its answer alone."""
    return {
        "job": question["job"],
        "id": question["id"],
        "group": question["group"],
        "answer": question["answer"],
        "prediction": prediction,
        "log_p": None,
        "scores": None,
        "confidence": None,
        "correct": grade(job, question["answer"], prediction),
        "given": True,
        "shared": question["shared"],
        "raw": raw,
    }
