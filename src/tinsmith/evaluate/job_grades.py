"""Grade a job's answers: what is right, and which prediction and confidence follow from the labels' probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinsmith.base.files import read_jsonl
from tinsmith.evidence.items import JobAnswer, JobQuestion, JobRow
from tinsmith.jobs.answers import UNREADABLE, read_label, read_labels
from tinsmith.jobs.spec import Calibration, Job

QUESTIONS = "jobs.jsonl"
BINS = 15  # of the reliability diagram and the calibration error, each of as many rows


def read_job_questions(items: Path) -> dict[str, list[JobQuestion]]:
    """Return the test rows of each job; none where the bundle holds no job."""
    path = items / QUESTIONS
    found: dict[str, list[JobQuestion]] = {}
    for row in read_jsonl(path) if path.is_file() else ():
        found.setdefault(row["job"], []).append(row)  # type: ignore[arg-type]
    return found


def calibrated(calibration: Calibration, log_p: Mapping[str, float]) -> dict[str, float]:
    """Return the probability of each label from ln p as the model gives it."""
    values = {
        label: (value - calibration.prior_weight * calibration.prior.get(label, 0.0))
        / calibration.temperature
        for label, value in log_p.items()
    }
    highest = max(values.values())
    powers = {label: math.exp(value - highest) for label, value in values.items()}
    total = math.fsum(powers.values())
    return {label: power / total for label, power in powers.items()}


def likeliest(scores: Mapping[str, float]) -> str:
    """Return the most probable label; of equals the first in the order of the labels."""
    return max(scores, key=lambda label: scores[label])


def equal_mass(confidences: Sequence[float], bins: int = BINS) -> list[list[int]]:
    """Return the places of rows in bins of like confidence that hold equally many, the least sure first."""
    order = sorted(range(len(confidences)), key=lambda place: (confidences[place], place))
    edges = [round(number * len(order) / bins) for number in range(bins + 1)]
    return [order[low:high] for low, high in zip(edges, edges[1:], strict=False) if high > low]


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


def answered(
    job: Job, question: JobQuestion, log_p: Mapping[str, float], calibration: Calibration
) -> JobRow:
    """Return the row of a model that gives each label a probability."""
    scores = calibrated(calibration, log_p)
    prediction = likeliest(scores)
    row = said(job, question, prediction)
    confidence = scores[prediction]
    return row | {  # type: ignore[return-value]
        "log_p": dict(log_p),
        "scores": scores,
        "confidence": confidence,
        "given": confidence >= calibration.least_confidence,
    }


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
