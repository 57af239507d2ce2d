"""Recorded answers: what another system answered to the same inputs, from a file, matched by id or by input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evidence.items import JobQuestion, JobRow
from tinsmith.evidence.schema import Subject, role_of
from tinsmith.jobs.answers import UNREADABLE
from tinsmith.jobs.records import Record, read_records
from tinsmith.jobs.rendering import NoExample, Rendering, fold
from tinsmith.recipe import JobConfig, RecordedConfig
from tinsmith.tokens.templates import readable

MATCHING = "by id, else by input and question"  # another way of matching reads the files again


@dataclass(frozen=True)
class Recorded:
    """A recorded system's answers to a job, and what became of the rows of its file (`RecordedCount`)."""

    rows: list[JobRow]
    counts: JsonObject


def job_of(recorded: RecordedConfig, jobs: Sequence[JobConfig], *, where: str) -> str:
    """Return the job that was asked. Raises RecipeError where the recipe does not say which, or has no such job."""
    names = [job.name for job in jobs]
    if recorded.job in names or (not recorded.job and len(names) == 1):
        return recorded.job or names[0]
    what = f"the recipe has no job {recorded.job!r}" if recorded.job else "does not say which job was asked"
    raise RecipeError(what, where=f"{where}.job", next_step=f"write one of {', '.join(names)}")


def read_recorded(
    recorded: RecordedConfig,
    grader: Grader,
    questions: Sequence[JobQuestion],
    records: Sequence[Mapping[str, Any]] = (),
) -> Recorded:
    """Return a system's answers to the test rows, read by the reader of all answers in words.

    `records` are the fields of the test rows, whose own `id` counts beside that of the question. A row of the file is
    matched by `id` where both sides have it, else by its input and its question, white space folded. Of several answers
    to a test row the first counts. A question without an answer gives no row. Raises RecipeError for a file that
    answers none of them.
    """
    listed = list(read_records(recorded.file))
    given = [record.fields for record in listed if isinstance(record, Record)]
    answers = [row for row in given if _text(row.get("answer"))]
    if not answers:
        fields = ", ".join(given[0]) if given else "none"
        raise RecipeError(
            f"no row has an `answer` (fields: {fields})",
            where=recorded.file,
            next_step="name the column of the answers `answer`",
        )
    matched = _Matching(grader, questions, records or [{}] * len(questions)).match(answers)
    if not matched.answers:
        raise RecipeError(
            f"none of its {len(answers)} answers is to one of the {len(questions)} test rows of "
            f"{grader.job.config.name}",
            where=recorded.file,
            next_step="give `id`, or the fields of the job's input as in the test; check that it is the same test",
        )
    said = [_text(row["answer"]) for row in answers]
    rows = [
        grader.in_words(question, said[matched.answers[place][0]])
        for place, question in enumerate(questions)
        if place in matched.answers
    ]
    # Rows that ask the same share their answers, and are counted once.
    repeated = {tuple(numbers) for numbers in matched.answers.values() if len(numbers) > 1}
    counts = {
        "rows": len(listed),
        "matched": len(rows),
        "without_answer": len(listed) - len(answers),
        "unmatched_rows": matched.unmatched,
        "ambiguous": matched.ambiguous,
        "unanswered": len(questions) - len(rows),
        "unreadable": sum(row["prediction"] == UNREADABLE for row in rows),
        "repeated": len(repeated),
        "contradicting": sum(
            len({repr(grader.read(said[number])) for number in numbers}) > 1 for numbers in repeated
        ),
    }
    return Recorded(rows, counts)


@dataclass
class _Matched:
    """The numbers of the answers to each test row, by its place; how many fit none, and how many fit several."""

    answers: dict[int, list[int]]
    unmatched: int = 0
    ambiguous: int = 0


class _Matching:
    """Finds the test rows that a row of a file answers: by id, else by what was asked."""

    def __init__(
        self, grader: Grader, questions: Sequence[JobQuestion], records: Sequence[Mapping[str, Any]]
    ) -> None:
        config = grader.job.config
        self.rendering = Rendering(config)
        self.by_id: dict[str, list[int]] = {}
        self.by_input: dict[str, dict[str, list[int]]] = {}  # by input, then by question
        self.inputs = [fold(question["input"]) for question in questions]
        for place, (question, record) in enumerate(zip(questions, records, strict=True)):
            for name in {question["id"], _text(record.get("id"))} - {""}:
                self.by_id.setdefault(name, []).append(place)
            asked = fold(self.rendering.question(record or question.get("record", {})))
            self.by_input.setdefault(self.inputs[place], {}).setdefault(asked, []).append(place)

    def match(self, rows: Sequence[JsonObject]) -> _Matched:
        """Return the answers to each test row; those by id go before those by what was asked."""
        found, by_input = _Matched({}), dict[int, list[int]]()
        named = [self._named(row) for row in rows]
        has_ids = any(len(places) == 1 for places in named)
        for number, (row, places) in enumerate(zip(rows, named, strict=True)):
            if len(places) == 1:
                found.answers.setdefault(places[0], []).append(number)
                continue
            name = _text(row.get("id"))
            if has_ids and name and name not in self.by_id:
                # An answer to a row that is not in the test, even if one there reads the same.
                found.unmatched += 1
                continue
            alike, several = self._asked_alike(row)
            for place in alike:
                by_input.setdefault(place, []).append(number)
            unclear = not alike and (several or len(places) > 1)
            found.ambiguous += unclear
            found.unmatched += not alike and not unclear
        found.answers = by_input | found.answers
        return found

    def _named(self, row: JsonObject) -> list[int]:
        """Return the test rows with the id of a row, but for those whose input the row contradicts."""
        text = _input(self.rendering, row)
        return [
            place for place in self.by_id.get(_text(row.get("id")), ()) if text in ("", self.inputs[place])
        ]

    def _asked_alike(self, row: JsonObject) -> tuple[list[int], bool]:
        """Return the test rows that ask what a row was asked, and whether it could be several that ask otherwise."""
        asked = self.by_input.get(_input(self.rendering, row), {})
        names = self.rendering.fields["question"]
        if not names or any(name in readable(row) for name in names):
            return asked.get(fold(self.rendering.question(row)), []), False
        # A row that does not say what was asked fits where there is one question alone.
        return (next(iter(asked.values())), False) if len(asked) == 1 else ([], bool(asked))


def recorded_subject(recorded: RecordedConfig) -> Subject:
    """Return its row among the subjects, with date and source."""
    return Subject(
        subject=recorded.name,
        name=recorded.name,
        role=role_of(recorded.name),
        date=recorded.date or None,
        source=recorded.source or None,
    )


def _text(value: object) -> str:
    return str(value).strip() if value is not None else ""


def _input(rendering: Rendering, row: JsonObject) -> str:
    try:
        return fold(rendering.input(row))
    except NoExample:
        return fold(_text(row.get("input")))
