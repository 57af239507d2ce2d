"""An example of a job, what a person should know of the examples, and their division."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from tinsmith.base.files import JsonObject
from tinsmith.jobs.records import Reject
from tinsmith.jobs.spans import fold

_LISTED = 200  # rows in a note


@dataclass(frozen=True)
class Example:
    """A row of learn.jsonl, validation.jsonl or test.jsonl."""

    id: str
    group: str
    input: str
    answer: Any
    record: JsonObject
    source: str
    row: int
    shared: bool = False  # a row of the test that also stands in the examples, or whose group does
    question: str = ""

    @property
    def key(self) -> str:
        """Return input and question without case and white space: what makes two examples the same."""
        return fold(f"{self.input}\n{self.question}").casefold()

    @property
    def answer_key(self) -> str:
        """Return the answer as text, to compare it."""
        return json.dumps(self.answer, sort_keys=True, ensure_ascii=False)

    def to_row(self) -> JsonObject:
        """Return the row; `shared` stands only in rows that are."""
        hidden = ("question",) if self.shared else ("question", "shared")
        return {key: value for key, value in asdict(self).items() if key not in hidden}


@dataclass(frozen=True)
class Note:
    """A sentence for the report on something in the examples: how many rows, and which."""

    kind: str
    count: int
    text: str
    rows: tuple[str, ...] = ()


@dataclass
class Examples:
    """The examples of a job, what gave none, and what a person should know."""

    labels: tuple[str, ...] = ()
    learn: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    test: list[Example] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def note(self, kind: str, text: str, rows: Iterable[str], count: int | None = None) -> None:
        """Add a note on rows, if there are any."""
        listed = tuple(rows)
        if count or listed:
            number = len(listed) if count is None else count
            self.notes.append(Note(kind, number, text, listed[:_LISTED]))
