"""A person's own multiple-choice questions, read from JSON Lines and refused by line where they cannot be asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from tinsmith.evaluate.items import OWN, Item
from tinsmith.foundation.errors import RecipeError

_WHERE = "evaluate.questions"
_FIELDS = frozenset({"question", "choices", "answer", "passage", "doc", "id"})


def read_own_questions(names: Iterable[str]) -> dict[str, list[Item]]:
    """Return the questions of each file by the name of their task.

    A line is {"question": ..., "choices": [...], "answer": one of them}; "passage" is read before the question, "doc"
    says which questions stand on one document and are drawn together in intervals. Raises RecipeError that names file
    and line for what cannot be asked.
    """
    found: dict[str, list[Item]] = {}
    for name in names:
        path = Path(name).expanduser()
        task = OWN + (re.sub(r"[^a-z0-9_]+", "_", path.stem.lower()).strip("_") or "file")
        if task in found:
            raise RecipeError(f"two files give the exam {task}", where=_WHERE, next_step="rename one of them")
        found[task] = _read(path, task)
    return found


def _read(path: Path, task: str) -> list[Item]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot be read ({error})",
            where=str(path),
            next_step="name a JSON Lines file in UTF-8 that is there",
        ) from None
    items: dict[str, Item] = {}
    asked: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        item = _item(_row(path, number, line), path, number, task)
        if item.item in items:
            _refuse(
                path, number, f"the id {item.item.partition(':')[2]!r} was given before", "give each its own"
            )
        if (before := asked.setdefault((item.text, item.question), number)) != number:
            _refuse(path, number, f"asks what line {before} asks", "leave one of them out")
        items[item.item] = item
    if len({item.answer for item in items.values()}) < 2:
        raise RecipeError(
            f"{len(items)} question(s) with {len({item.answer for item in items.values()})} answer(s) show nothing",
            where=str(path),
            next_step="ask at least two questions with different answers",
        )
    return list(items.values())


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        _refuse(path, number, f"is no JSON ({error})", "write one JSON object a line")
    if not isinstance(row, dict):
        _refuse(path, number, "is no JSON object", 'write {"question": ..., "choices": [...], "answer": ...}')
    if unknown := sorted(row.keys() - _FIELDS):
        _refuse(path, number, f"has {unknown[0]!r}, which nothing reads", f"use {', '.join(sorted(_FIELDS))}")
    return row


def _item(row: dict[str, Any], path: Path, number: int, task: str) -> Item:
    texts = {name: row.get(name, "") for name in ("question", "answer", "passage", "doc", "id")}
    for name, value in texts.items():
        if not isinstance(value, str) or (name in ("question", "answer") and not value.strip()):
            _refuse(path, number, f"{name!r} is {value!r}", f"write text for {name!r}")
    choices = row.get("choices")
    if not isinstance(choices, list) or not all(isinstance(each, str) and each.strip() for each in choices):
        _refuse(path, number, "'choices' is no list of texts", "give at least two choices")
    stripped = [each.strip() for each in choices]
    if len(stripped) < 2 or len(set(stripped)) < len(stripped):
        _refuse(
            path,
            number,
            f"has {len(set(stripped))} different of {len(stripped)} choices",
            "give different ones",
        )
    if texts["answer"].strip() not in stripped:
        _refuse(path, number, f"the answer {texts['answer']!r} is none of the choices", "give one of them")
    passage, name = texts["passage"].strip(), texts["id"] or str(number)
    return Item(
        item=f"{task}:{name}",
        task=task,
        doc_id=texts["doc"] or f"{task}:{name}",
        text=passage,
        question=f"{chr(10) * 2 if passage else ''}Question: {texts['question'].strip()}\nAnswer:",
        answer=texts["answer"].strip(),
        choices=tuple(stripped),
    )


def _refuse(path: Path, number: int, what: str, next_step: str) -> NoReturn:
    raise RecipeError(what, where=f"{path}, line {number}", next_step=next_step)
