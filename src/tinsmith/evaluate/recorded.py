"""Recorded answers: what another system answered to the same inputs, from a file, matched by id or by input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evidence.items import JobQuestion, JobRow
from tinsmith.evidence.schema import Subject, role_of
from tinsmith.jobs.answers import UNREADABLE
from tinsmith.jobs.records import Record, read_records
from tinsmith.jobs.rendering import NoExample, Rendering, fold
from tinsmith.recipe import JobConfig, RecordedConfig


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


def read_recorded(recorded: RecordedConfig, grader: Grader, questions: Sequence[JobQuestion]) -> Recorded:
    """Return a system's answers to the test rows, read by the reader of all answers in words.

    A row of the file is matched by `id`, or by its input, white space folded. Where an input has several answers, the
    first counts. A question without an answer gives no row. Raises RecipeError for a file that answers none of them.
    """
    records = list(read_records(recorded.file))
    given = [record.fields for record in records if isinstance(record, Record)]
    answers = [row for row in given if _text(row.get("answer"))]
    if not answers:
        fields = ", ".join(given[0]) if given else "none"
        raise RecipeError(
            f"no row has an `answer` (fields: {fields})",
            where=recorded.file,
            next_step="name the column of the answers `answer`",
        )
    keys = {fold(question["input"]): fold(question["input"]) for question in questions}
    keys |= {question["id"]: fold(question["input"]) for question in questions}
    rendering = Rendering(grader.job.config)
    found: dict[str, list[str]] = {}
    unmatched = len(records) - len(answers)
    for row in answers:
        key = keys.get(_text(row.get("id"))) or keys.get(_input(rendering, row))
        if key is None:
            unmatched += 1
        else:
            found.setdefault(key, []).append(_text(row["answer"]))
    if not found:
        raise RecipeError(
            f"none of its {len(answers)} answers is to one of the {len(questions)} test rows of "
            f"{grader.job.config.name}",
            where=recorded.file,
            next_step="give `id`, or the fields of the job's input as in the test; check that it is the same test",
        )
    rows = [
        grader.in_words(question, found[key][0])
        for question in questions
        if (key := fold(question["input"])) in found
    ]
    repeated = [answers for answers in found.values() if len(answers) > 1]
    counts = {
        "rows": len(records),
        "matched": len(rows),
        "unmatched_rows": unmatched,
        "unanswered": len(questions) - len(rows),
        "unreadable": sum(row["prediction"] == UNREADABLE for row in rows),
        "repeated": len(repeated),
        "contradicting": sum(len({repr(grader.read(raw)) for raw in each}) > 1 for each in repeated),
    }
    return Recorded(rows, counts)


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
