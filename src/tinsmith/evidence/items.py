"""Multiple-choice questions and the answers to them, as they are stored. No model is known here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NotRequired, TypedDict

from tinsmith.base.files import JsonObject, read_jsonl

OWN_PREFIX = "questions_"  # of the tasks that a person's own files of questions make


class ItemKind(StrEnum):
    """Where a question comes from."""

    TASK = "task"  # a task of the recipe: answers are classes that the training examples share
    NEXT_PASSAGE = "next_passage"
    CLOZE = "cloze"
    OWN = "own"  # a person's own file of questions


@dataclass(frozen=True)
class Item:
    """A question on a document with its right answer.

    A model scores `lead`, a choice and `tail`. `span` is where in the document the answer stands; for a question on
    metadata it is the opening that the question is about.
    """

    item: str
    task: str
    doc_id: str
    text: str
    question: str
    answer: str
    choices: tuple[str, ...]
    lead: str = " "  # as `answer_text` puts it
    tail: str = "\n"
    span: tuple[int, int] | None = None
    kind: ItemKind = ItemKind.TASK
    access: str = ""  # label of a person's own question, for may_leave

    @property
    def has_classes(self) -> bool:
        """Say whether the answers are classes, so that they can be balanced and learnt from training examples."""
        return self.kind is ItemKind.TASK

    @property
    def is_built(self) -> bool:
        """Say whether the question was made from its document, which then holds the answer."""
        return self.kind in (ItemKind.NEXT_PASSAGE, ItemKind.CLOZE)

    def continuation(self, choice: str) -> str:
        """Return a choice as it is tokenised."""
        return f"{self.lead}{choice}{self.tail}"

    def top_choice(self, scores: dict[str, float]) -> str:
        """Return the choice with the highest log-probability; of passages per byte, since they differ in length."""

        def rank(choice: str) -> tuple[float, str]:
            passage = self.kind is ItemKind.NEXT_PASSAGE
            size = len(self.continuation(choice).encode()) if passage else 1
            return scores[choice] / size, choice

        return max(scores, key=rank)


class ChoiceRow(TypedDict):
    """A stored answer. `scores` are natural log-probabilities of the choices; a baseline has none."""

    item: str
    task: str
    doc_id: str
    span: list[int]
    shots: int
    answer: str
    prediction: str
    correct: bool
    scores: dict[str, float]


def choice_row(
    item: Item, prediction: str, *, shots: int = 0, scores: dict[str, float] | None = None
) -> ChoiceRow:
    """Return what is stored of one answer."""
    return {
        "item": item.item,
        "task": item.task,
        "doc_id": item.doc_id,
        "span": list(item.span or (0, len(item.text))),
        "shots": shots,
        "answer": item.answer,
        "prediction": prediction,
        "correct": prediction == item.answer,
        "scores": scores or {},
    }


def read_questions(path: Path) -> list[Item]:
    """Read `questions.jsonl`: questions of tasks, questions made from documents, and a person's own."""
    items = []
    for row in read_jsonl(path):
        kind = ItemKind(row.get("kind") or _kind_of(row["task"]))
        span = tuple(row["span"]) if row["span"] else None
        items.append(Item(**row | {"choices": tuple(row["choices"]), "span": span, "kind": kind}))
    return items


def _kind_of(task: str) -> ItemKind:
    """Return the kind of a question that an earlier version stored without one."""
    if task in (ItemKind.NEXT_PASSAGE, ItemKind.CLOZE):
        return ItemKind(task)
    return ItemKind.OWN if task[: len(OWN_PREFIX)] == OWN_PREFIX else ItemKind.TASK


# One label, several, spans by field, an answer with its quote (None: not in the text), or a written text.
JobAnswer = str | list[str] | dict[str, list[str]] | dict[str, str] | None


class JobQuestion(TypedDict):
    """A test row of a job as it is stored: `shared` says that its input or its group also stands in the examples.

    The record is stored where checks may read it.
    """

    job: str
    id: str
    group: str
    input: str
    answer: JobAnswer
    shared: bool
    record: NotRequired[JsonObject]


class JobRow(TypedDict):
    """A subject's stored answer to a test row.

    `log_p` are ln p of the labels as the model gives them, `scores` the probabilities that calibration makes of them.
    `confidence` is that of the prediction. `correct` is a share where an answer can be partly right. `given` says that
    the answer would be given out rather than left to a person or withheld. `raw` is an answer in words. `tries` is how
    often an answer was asked for because an earlier one broke a check.
    """

    job: str
    id: str
    group: str
    answer: JobAnswer
    prediction: JobAnswer
    log_p: dict[str, float] | None
    scores: dict[str, float] | None
    confidence: float | None
    correct: bool | float
    given: bool
    shared: bool
    raw: str | None
    tries: NotRequired[int]


class JobAsked(TypedDict):
    """How a subject was asked about one job: seconds and joules of all `rows`, or a recorded price of 1,000 answers.

    `calibration` is what made its scores of ln p; `recorded` counts the rows of a file of answers; `lost` counts by
    reason the rows to which an endpoint gave no answer.
    """

    rows: int
    seconds: float | None
    joules: tuple[float, float, float] | None  # central, lowest, highest
    method: str | None
    price_per_1000: float | None
    calibration: JsonObject | None
    recorded: JsonObject | None
    lost: NotRequired[dict[str, int]]


class JobAbout(TypedDict):
    """What `items/job-SUBJECT.json` holds: a hash of all that its answers depend on, what it is, and each job.

    `system` is ours, model, baseline, endpoint or recorded.
    """

    fingerprint: str
    system: str
    jobs: dict[str, JobAsked]
