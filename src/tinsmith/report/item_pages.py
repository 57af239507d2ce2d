"""Pages below the report down to the single item: every question, document and passage, all subjects side by side."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment

from tinsmith.base.files import read_jsonl, write_atomic
from tinsmith.report.format import metric
from tinsmith.report.view_model import View

PAGES = "pages"
_PER_PAGE = 200  # questions: a page of them stays below a few megabytes whatever the exam's size
_SHOWN = 600  # characters of a choice; the whole text before it is folded, not cut


@dataclass(frozen=True)
class _Sheet:
    """A page: its file's name, its title, and what its template draws."""

    file: str
    title: str
    template: str
    content: dict[str, Any]


def write_item_pages(bundle: Path, view: View, environment: Environment) -> None:
    """Make `pages/` of a bundle anew from its items: an index, questions by task, documents and passages."""
    shutil.rmtree(bundle / PAGES, ignore_errors=True)
    sheets = list(_sheets(bundle / "items", view))
    if not sheets:
        return
    for sheet in [*sheets, _Sheet("index.html", "Every item", "items_index.html", {"sheets": sheets})]:
        page = environment.get_template(sheet.template).render(view=view, sheet=sheet, **sheet.content)
        write_atomic(bundle / PAGES / sheet.file, page)


def _sheets(items: Path, view: View) -> Iterator[_Sheet]:
    rows = {name: _rows(items / f"exam-{name}.jsonl") for name in view.subjects}
    texts = {row["item"]: row for row in _rows(items / "questions.jsonl")}
    for (task, shots), names in _exams(rows).items():
        questions = _questions(rows, texts, task, shots)
        parts = math.ceil(len(questions) / _PER_PAGE)
        for part in range(parts):
            file = f"{task}-{shots}-shot{f'-{part + 1}' if parts > 1 else ''}.html"
            title = metric(f"{task}:{shots}-shot") + (f", page {part + 1} of {parts}" if parts > 1 else "")
            content = {"questions": questions[part * _PER_PAGE : (part + 1) * _PER_PAGE], "names": names}
            yield _Sheet(file, title, "items.html", content)
    bits = {name: found for name in view.subjects if (found := _rows(items / f"bits-{name}.jsonl"))}
    if bits:
        yield _table(
            "documents.html", "Held-out documents: bits per byte", bits, ("overlap", "bytes"), _per_byte
        )
    leaks = {name: found for name in view.subjects if (found := _rows(items / f"leakage-{name}.jsonl"))}
    if leaks:
        said = "Passages asked for leaks: loss in nats a token, and what was said word for word"
        yield _table("passages.html", said, leaks, ("part", "copies"), _familiar)


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(path)) if path.is_file() else []


def _exams(rows: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, int], list[str]]:
    """Return the subjects that answered each task with so many examples; what has no scores knows no examples."""
    found: dict[tuple[str, int], list[str]] = {}
    scored = {name: own for name, own in rows.items() if any(row["scores"] for row in own)}
    for row in itertools.chain.from_iterable(scored.values()):
        found.setdefault((row["task"], row["shots"]), [])
    for (task, shots), names in found.items():
        names += [
            name
            for name, own in rows.items()
            if any(row["task"] == task and (row["shots"] == shots or name not in scored) for row in own)
        ]
    return found


def _questions(
    rows: dict[str, list[dict[str, Any]]], texts: dict[str, dict[str, Any]], task: str, shots: int
) -> list[dict[str, Any]]:
    """Return each question with the answers of all subjects by name, in the order in which it was asked."""
    asked: dict[str, dict[str, Any]] = {}
    for name, own in rows.items():
        for row in own:
            if row["task"] != task or (row["shots"] != shots and row["scores"]):
                continue
            entry = asked.setdefault(
                row["item"], {"item": row["item"], "doc_id": row["doc_id"], "answers": {}}
            )
            entry |= {"span": row["span"], "answer": row["answer"]}
            entry["answers"][name] = row
    for entry in asked.values():
        known = texts.get(entry["item"], {})
        scores = [row["scores"] for row in entry["answers"].values() if row["scores"]]
        choices = known.get("choices") or sorted(
            {choice for each in scores for choice in each} | {entry["answer"]}
        )
        entry["choices"] = [{"text": choice, "shown": _cut(choice)} for choice in choices]
        entry["text"], entry["question"] = known.get("text", ""), known.get("question", "")
    return list(asked.values())


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def classes(question: dict[str, Any], view: View) -> str:
    """Return the style classes by which the filters of a page choose: who was right and who wrong."""
    found = {"ours": "", "base": "", "rival": "", "control": ""}
    for name, row in question["answers"].items():
        role = view.role(name)
        if role in found and found[role] != "right":
            found[role] = "right" if row["correct"] else "wrong"
    return " ".join(f"{role}-{outcome}" for role, outcome in found.items() if outcome)


def _table(
    file: str,
    title: str,
    rows: dict[str, list[dict[str, Any]]],
    facts: Sequence[str],
    shown: Any,
) -> _Sheet:
    """Return a page with a row per document and a column per subject."""
    first = next(iter(rows.values()))
    cells: dict[str, dict[str, str]] = {
        name: {row["doc_id"]: shown(row) for row in own} for name, own in rows.items()
    }
    table = [
        {"doc_id": row["doc_id"], "facts": [row[fact] for fact in facts]}
        | {"cells": [cells[name].get(row["doc_id"], "–") for name in rows]}
        for row in first
    ]
    return _Sheet(
        file, title, "items_table.html", {"table": table, "names": list(rows), "facts": list(facts)}
    )


def _per_byte(row: dict[str, Any]) -> str:
    return f"{row['bits'] / row['bytes']:.3f}" if row["bytes"] else "–"


def _familiar(row: dict[str, Any]) -> str:
    return f"{row['loss']:.3f}" + (" word for word" if row["extracted"] else "")
