"""Questions, the answers of subjects to them, and the names of both, as they are stored; no model is known here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith.base.files import read_jsonl

OURS, OURS_4BIT, BASE = "trained", "trained-4bit", "base"
FORMATS = {"q4_k_m": OURS_4BIT} | {  # our files and their subjects
    format: f"trained-{format}" for format in ("q3_k_m", "q5_k_m", "q6_k", "q8_0", "f16")
}
CONTROLS = ("majority", "tfidf", "compressor", "ngram", "length", "overlap", "unread")
NEXT_PASSAGE, CLOZE = "next_passage", "cloze"
BUILT = (NEXT_PASSAGE, CLOZE)  # tasks that are made from the documents themselves
OWN = "questions_"  # begins the names of tasks that a person's own files of questions make


def has_classes(task: str) -> bool:
    """Say whether a task's answers are classes that its training examples share, so that they can be balanced."""
    return task not in BUILT and not task.startswith(OWN)


@dataclass(frozen=True)
class Item:
    """A question on a document with its right answer.

    What a model is asked to foretell is `lead`, a choice and `tail`; `span` is where in the document the answer
    stands, for a question on metadata the opening that it is about.
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

    def continuation(self, choice: str) -> str:
        """Return a choice as it is tokenised."""
        return f"{self.lead}{choice}{self.tail}"


@dataclass(frozen=True)
class Measured:
    """The items of one subject, and how they came about (`about`: seconds, tokens, forwards, branches)."""

    bits: list[dict[str, Any]]
    exam: list[dict[str, Any]]
    about: dict[str, Any]
    general: list[dict[str, Any]] = field(default_factory=list)
    audits: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # rows by kind


def read_questions(path: Path) -> list[Item]:
    """Read what `questions.jsonl` holds: questions made from documents and a person's own, with all their text."""
    return [
        Item(**row | {"choices": tuple(row["choices"]), "span": tuple(row["span"]) if row["span"] else None})
        for row in read_jsonl(path)
    ]


def likeliest(item: Item, scores: dict[str, float]) -> str:
    """Return the choice with the highest log-probability; of passages, by the byte, since they differ in length."""

    def rank(choice: str) -> tuple[float, str]:
        size = len(item.continuation(choice).encode()) if item.task == NEXT_PASSAGE else 1
        return scores[choice] / size, choice

    return max(scores, key=rank)


def item_row(
    item: Item, prediction: str, *, shots: int, scores: dict[str, float] | None = None
) -> dict[str, Any]:
    """Return what is stored of one answered item; scores are natural log-probabilities of the choices."""
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
