"""Pages of single items below the report: every question, document and passage, all subjects side by side."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment

from tinsmith.base.files import write_atomic
from tinsmith.evidence.family import Items
from tinsmith.evidence.format import readable
from tinsmith.evidence.items import ChoiceRow, Item
from tinsmith.evidence.schema import Role, qualifier_words
from tinsmith.report.view_model import View

_PAGES = "pages"
_PER_PAGE = 200  # questions, so that a page stays below a few megabytes
_SHOWN = 600  # characters of a choice


@dataclass(frozen=True)
class _Sheet:
    """A page: its file's name, its title, and what its template draws."""

    file: str
    title: str
    template: str
    content: Mapping[str, object]


@dataclass
class Question:
    """A question with the answers of all subjects by name; without its text where the bundle holds none."""

    item: str
    doc_id: str
    span: Sequence[int]
    answer: str
    text: str = ""
    question: str = ""
    choices: Sequence[str] = ()
    answers: dict[str, ChoiceRow] = field(default_factory=dict)


@dataclass(frozen=True)
class _DocumentRow:
    """A row of a table of documents: some facts, and a cell for each subject."""

    doc_id: str
    facts: Sequence[object]
    cells: Sequence[str]


def write_item_pages(bundle: Path, view: View, environment: Environment) -> None:
    """Write `pages/` of a bundle from its items: an index, questions by task, documents and passages."""
    shutil.rmtree(bundle / _PAGES, ignore_errors=True)
    folder = bundle / "items"
    items = Items(folder, bundle / "gguf", folder / "parity.jsonl", tuple(view.subjects))
    sheets = [*_question_sheets(items), *_document_sheets(items)]
    if not sheets:
        return
    for sheet in [*sheets, _Sheet("index.html", "Every item", "items_index.html", {"sheets": sheets})]:
        page = environment.get_template(sheet.template).render(view=view, sheet=sheet, **sheet.content)
        write_atomic(bundle / _PAGES / sheet.file, page)


def _question_sheets(items: Items) -> Iterator[_Sheet]:
    rows: dict[str, list[ChoiceRow]] = items.rows("exam")
    for task, shots in _exams(rows):
        questions = _questions(rows, items.questions, task, shots)
        names = [name for name in rows if any(name in question.answers for question in questions)]
        title = f"{readable(task)}, {qualifier_words(f'{shots}-shot')}"
        parts = math.ceil(len(questions) / _PER_PAGE)
        for part in range(parts):
            file = f"{task}-{shots}-shot{f'-{part + 1}' if parts > 1 else ''}.html"
            page = f", page {part + 1} of {parts}" if parts > 1 else ""
            content = {"questions": questions[part * _PER_PAGE : (part + 1) * _PER_PAGE], "names": names}
            yield _Sheet(file, title + page, "items.html", content)


def _exams(rows: Mapping[str, Sequence[ChoiceRow]]) -> list[tuple[str, int]]:
    """Return each task and number of examples that a model was asked with; baselines store no scores."""
    every = itertools.chain.from_iterable(rows.values())
    return list(dict.fromkeys((row["task"], row["shots"]) for row in every if row["scores"]))


def _questions(
    rows: Mapping[str, Sequence[ChoiceRow]], texts: Mapping[str, Item], task: str, shots: int
) -> list[Question]:
    """Return each question of a task in the order in which it was asked; baselines read no examples."""
    asked: dict[str, Question] = {}
    for name, own in rows.items():
        for row in own:
            if row["task"] != task or (row["shots"] != shots and row["scores"]):
                continue
            question = asked.setdefault(
                row["item"], Question(row["item"], row["doc_id"], row["span"], row["answer"])
            )
            question.answers[name] = row
    for question in asked.values():
        scored = {choice for row in question.answers.values() for choice in row["scores"]}
        question.choices = sorted(scored | {question.answer})
        if known := texts.get(question.item):
            question.choices = known.choices
            question.text, question.question = known.text, known.question
    return list(asked.values())


def shortened(text: str) -> str:
    """Cut a long choice."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def classes(question: Question, view: View) -> str:
    """Return the style classes by which the filters of a page choose: which roles were right and which wrong."""
    found: dict[Role, str] = {}
    for name, row in question.answers.items():
        role = view.role(name)
        if role is not Role.OURS_QUANTISED and found.get(role) != "right":
            found[role] = "right" if row["correct"] else "wrong"
    return " ".join(f"{role}-{found[role]}" for role in Role if role in found)


def _document_sheets(items: Items) -> Iterator[_Sheet]:
    if bits := items.rows("bits"):
        title = "Held-out documents: bits per byte"
        yield _table("documents.html", title, bits, ("overlap", "bytes"), _per_byte)
    if passages := items.rows("leakage"):
        title = "Passages: loss in nats a token, and which were repeated word for word"
        yield _table("passages.html", title, passages, ("part", "copies"), _loss)


def _table(
    file: str,
    title: str,
    rows: Mapping[str, Sequence[Any]],
    facts: Sequence[str],
    write: Callable[[Any], str],
) -> _Sheet:
    """Return a page with a row for each document and a column for each subject."""
    cells = {name: {row["doc_id"]: write(row) for row in own} for name, own in rows.items()}
    table = [
        _DocumentRow(
            row["doc_id"],
            [row[fact] for fact in facts],
            [cells[name].get(row["doc_id"], "–") for name in rows],
        )
        for row in next(iter(rows.values()))
    ]
    return _Sheet(file, title, "items_table.html", {"table": table, "names": list(rows), "facts": facts})


def _per_byte(row: Any) -> str:
    return f"{row['bits'] / row['bytes']:.3f}" if row["bytes"] else "–"


def _loss(row: Any) -> str:
    return f"{row['loss']:.3f}" + (" word for word" if row["extracted"] else "")
