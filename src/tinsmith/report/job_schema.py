"""Typed records of a job beside its figures: how it was learnt, notes on its examples, its files."""

from __future__ import annotations

from tinsmith.base.files import JsonObject
from tinsmith.evidence.schema import Record


class LearningPoint(Record):
    """The share right on the validation part after learning from so many examples, with its interval."""

    examples: int
    right: float
    low: float
    high: float
    asks: int


class Trial(Record):
    """A run of the search for settings, or the run itself, and what validation said of it."""

    what: str
    trainable: str
    learning_rate: float
    examples: int
    passes: float
    seconds: float
    right: float | None = None
    loss: float | None = None


class Suspect(Record):
    """An example whose label the model found less likely than another. Its text is cut."""

    source: str
    row: int
    label: str
    model: str
    model_probability: float
    input: str


class JobNote(Record):
    """A sentence on something in the examples, and how many rows it is about."""

    kind: str
    count: int
    text: str


class JobFiles(Record):
    """One job of a bundle: what its recipe asks for, what was learnt from, how, and the files that were made."""

    job: str
    kind: str
    asked: str
    start: str
    ask_a_person: float
    checks: tuple[str, ...]
    temperature: float | None = None
    least_confidence: float | None = None
    learnt: int | None = None  # rows
    validated: int | None = None
    curve: tuple[LearningPoint, ...]
    search: tuple[Trial, ...]
    suspects: tuple[Suspect, ...]
    suspected: int
    notes: tuple[JobNote, ...]
    rejects: dict[str, int]  # rows by reason
    exports: dict[str, int]  # bytes by file, the largest first
    parity: JsonObject
