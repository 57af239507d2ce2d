"""Grade a job's answers: what is right, and what prediction and confidence follow from probabilities."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tinsmith.base.files import read_jsonl
from tinsmith.evidence.items import JobAnswer, JobQuestion, JobRow
from tinsmith.jobs.answers import UNREADABLE, read_label, read_labels
from tinsmith.jobs.ask import NONE
from tinsmith.jobs.calibration import confidence, needs_a_person
from tinsmith.jobs.checks import Checks
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.scoring import exact_match, spans_f1
from tinsmith.jobs.spec import Job

QUESTIONS = "jobs.jsonl"
_NOTHING = ("", NONE, "not in the text", "null")  # how answers say that a text holds none


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


class Grader:
    """Read and grade answers to one job; makes the rows that are stored."""

    def __init__(self, job: Job) -> None:
        self.job, self.checks = job, Checks(job.config)

    def grade(self, question: JobQuestion, prediction: JobAnswer) -> bool | float:
        """Say whether a prediction is right; of an extraction the mean F1 of its fields, of a text if it keeps all
        checks. What is unreadable or withheld is wrong."""
        answer, kind = question["answer"], self.job.config.kind
        if prediction == UNREADABLE:
            return False
        if kind == "write":
            row = {"input": question["input"], "record": question.get("record", {})}
            return not self.checks.broken(row, prediction)
        if kind == "extract":
            scores = [f1 for _, f1 in field_scores(self.job, answer, prediction)]
            return sum(scores) / len(scores) if scores else 1.0
        if kind == "answer":
            return answer_score(answer, prediction, exact_match) == 1.0
        if isinstance(answer, list) and isinstance(prediction, list):
            return sorted(answer) == sorted(prediction)
        return prediction == answer

    def read(self, raw: str) -> JobAnswer:
        """Return what an answer in words says; empty where it cannot be read."""
        config, labels, text = self.job.config, self.job.labels, raw.strip()
        if config.kind == "extract":
            return _read_fields(self.job, text)
        if config.kind == "answer":
            said = next((line.strip() for line in text.splitlines() if line.strip()), "")
            return None if said.casefold().strip(" .") in _NOTHING else {"answer": said, "quote": ""}
        if config.kind == "write":
            return (_object_in(text) if config.json_schema else text) or UNREADABLE
        if config.several:
            return read_labels(labels, raw) or ([] if read_label([NONE], raw) else UNREADABLE)
        return read_label(labels, raw)

    def chosen(self, question: JobQuestion, log_p: Mapping[str, float]) -> JobRow:
        """Return the row of a model that gives each label a ln p; the job's calibration makes it a confidence."""
        scores = confidence(self.job, log_p, question["input"])
        prediction = likeliest(scores)
        row = self.said(question, prediction, sure=scores[prediction])
        row["log_p"], row["scores"] = dict(log_p), scores
        return row

    def in_words(self, question: JobQuestion, raw: str) -> JobRow:
        """Return the row of a system that answers in words."""
        return self.said(question, self.read(raw), raw=raw)

    def said(
        self,
        question: JobQuestion,
        prediction: JobAnswer,
        *,
        raw: str | None = None,
        sure: float | None = None,
        tries: int = 0,
    ) -> JobRow:
        """Return the row of a system that says its answer; what is not sure enough is left to a person."""
        row: JobRow = {
            "job": question["job"],
            "id": question["id"],
            "group": question["group"],
            "answer": question["answer"],
            "prediction": prediction,
            "log_p": None,
            "scores": None,
            "confidence": sure,
            "correct": self.grade(question, prediction),
            "given": self.is_given(prediction, sure),
            "shared": question["shared"],
            "raw": raw,
        }
        return row | {"tries": tries} if tries else row

    def is_given(self, prediction: JobAnswer, sure: float | None) -> bool:
        """Say whether an answer is given out: it was not withheld, and is sure enough."""
        return prediction != UNREADABLE and not needs_a_person(self.job, sure)


def _object_in(text: str) -> str:
    """Return what stands from the first brace of a text to the last, so without words or fences around it."""
    return text[text.find("{") : text.rfind("}") + 1] if "{" in text else text


def _read_fields(job: Job, text: str) -> JobAnswer:
    """Return the values of each field of a JSON object; empty where the text holds none."""
    try:
        stored = json.loads(_object_in(text))
    except (ValueError, RecursionError):
        return UNREADABLE
    if not isinstance(stored, dict):
        return UNREADABLE
    found: dict[str, list[str]] = {}
    for field in fields_of(job.config):
        value = stored.get(field.name)
        values = value if isinstance(value, list) else [value]
        kept = [str(each) for each in values if each not in (None, "", NONE)]
        # An escape in JSON may stand for half a character, which no file holds.
        found[field.name] = [each.encode("utf-8", "replace").decode() for each in kept]
    return found
