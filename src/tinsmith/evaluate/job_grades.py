"""Grade a job's answers: what is right, and what prediction and confidence follow from probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tinsmith.base.files import read_jsonl
from tinsmith.evidence.items import JobAnswer, JobQuestion, JobRow
from tinsmith.jobs.answers import UNREADABLE, read_label, read_labels
from tinsmith.jobs.calibration import confidence, needs_a_person
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.scoring import exact_match, spans_f1
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
    """Say whether a prediction is right; of an extraction, the mean F1 of its fields' values."""
    if job.config.kind == "extract":
        scores = [f1 for _, f1 in field_scores(job, answer, prediction)]
        return sum(scores) / len(scores) if scores else 1.0
    if job.config.kind == "answer":
        return answer_score(answer, prediction, exact_match) == 1.0
    if isinstance(answer, list) and isinstance(prediction, list):
        return sorted(answer) == sorted(prediction)
    return prediction == answer


def field_scores(job: Job, answer: JobAnswer, prediction: JobAnswer) -> list[tuple[bool, float]]:
    """Return for each field of an extraction whether the text holds a value, and the F1 of what was found."""
    if not isinstance(answer, dict):
        return []
    found = prediction if isinstance(prediction, dict) else {}
    return [
        (bool(right), spans_f1(found.get(field.name, ()), right, several=field.several))
        for field in fields_of(job.config)
        for right in [answer.get(field.name, ())]
    ]


def answer_score(
    answer: JobAnswer, prediction: JobAnswer, score: Callable[[str, str], bool | float]
) -> float:
    """Return how well an answer to a question agrees with the right one; both may be that the text holds none."""
    if not isinstance(answer, dict) or not isinstance(prediction, dict):
        return float(answer is None and prediction is None)
    return float(score(str(prediction["answer"]), str(answer["answer"])))


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
