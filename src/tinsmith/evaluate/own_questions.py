"""A person's own questions, with choices or without, read from JSON Lines and refused by line number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject
from tinsmith.evidence.items import OWN_PREFIX, Item, ItemKind

_WHERE = "evaluate.questions"
_FIELDS = frozenset({"question", "choices", "answer", "passage", "doc", "id", "span", "access"})
SHORT, EXTRACTION = "short", "extraction"


@dataclass(frozen=True)
class OpenItem:
    """A question without choices: any of `answers` is right; an extraction's stand in its passage, at `span`."""

    item: str
    task: str
    doc_id: str
    text: str
    question: str
    answers: tuple[str, ...]
    kind: str
    span: tuple[int, int] | None = None
    access: str = ""


def read_own_questions(names: Iterable[str]) -> dict[str, list[Item]]:
    """Return the questions with choices of each file by the name of their task.

    A line is {"question": ..., "choices": [...], "answer": one of them}; "passage" is read before the question, "doc"
    says which questions stand on one document and are drawn together in intervals, "access" is a label for may_leave.
    Raises RecipeError that names file and line for what cannot be asked.
    """
    found = {
        task: [item for item in items if isinstance(item, Item)] for task, items in _files(names).items()
    }
    return {task: items for task, items in found.items() if items}


def read_open_questions(names: Iterable[str]) -> dict[str, list[OpenItem]]:
    """Return the questions without choices of each file: TASK.short, and TASK.extraction where they have a passage.

    A line is {"question": ..., "answer": text or list of texts}; with a "passage" each answer must stand in it, and
    "span", [start, end] in characters, must be where the first does. Raises RecipeError as `read_own_questions` does.
    """
    found: dict[str, list[OpenItem]] = {}
    for items in _files(names).values():
        for item in items:
            if isinstance(item, OpenItem):
                found.setdefault(item.task, []).append(item)
    return found


def repeated_questions(names: Iterable[str]) -> list[str]:
    """Return a sentence on each line that is left out, since an earlier one of its file asks the same."""
    repeats: list[_Repeat] = []
    _files(names, repeats)
    return [
        f"{each.file}, line {each.line} is left out: it asks what line {each.before} asks"
        + (", with another answer." if each.differs else ".")
        for each in repeats
    ]


def own_task(name: str) -> str:
    """Return the name of the task that a file of questions makes."""
    return OWN_PREFIX + (re.sub(r"[^a-z0-9_]+", "_", Path(name).stem.lower()).strip("_") or "file")


@dataclass(frozen=True)
class _Repeat:
    """A line that asks what an earlier one asks, and whether its answer differs."""

    file: str
    line: int
    before: int
    differs: bool


def _files(names: Iterable[str], repeats: list[_Repeat] | None = None) -> dict[str, list[Item | OpenItem]]:
    found: dict[str, list[Item | OpenItem]] = {}
    for name in names:
        path, task = Path(name).expanduser(), own_task(name)
        if task in found:
            raise RecipeError(f"two files make the task {task}", where=_WHERE, next_step="rename one of them")
        found[task] = _read(path, task, [] if repeats is None else repeats)
    return found


def _read(path: Path, task: str, repeats: list[_Repeat]) -> list[Item | OpenItem]:
    try:
        # Not splitlines: U+2028 and its like are part of a JSON text.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot be read ({error})",
            where=str(path),
            next_step="name an existing JSON Lines file in UTF-8",
        ) from None
    items: dict[str, Item | OpenItem] = {}
    asked: dict[tuple[str, str], tuple[int, Item | OpenItem]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(path, number, line)
        item = (_item if "choices" in row else _open_item)(row, path, number, task)
        before, first = asked.setdefault((item.text, item.question), (number, item))
        if before != number:
            repeats.append(_Repeat(path.name, number, before, _right(item) != _right(first)))
            continue
        if item.item in items:
            _refuse(
                path, number, f"the id {item.item.partition(':')[2]!r} was given before", "give each its own"
            )
        items[item.item] = item
    # A file without any question has too few of whichever kind.
    _answers_differ(path, [item.answer for item in items.values() if isinstance(item, Item)], bool(items))
    for kind in (SHORT, EXTRACTION):
        own = [i.answers[0] for i in items.values() if isinstance(i, OpenItem) and i.kind == kind]
        _answers_differ(path, own, True)
    return list(items.values())


def _right(item: Item | OpenItem) -> tuple[str, ...]:
    return (item.answer,) if isinstance(item, Item) else item.answers


def _answers_differ(path: Path, answers: Sequence[str], may_be_none: bool) -> None:
    if len(set(answers)) < 2 and not (may_be_none and not answers):
        raise RecipeError(
            f"{len(answers)} question(s) with {len(set(answers))} different answer(s) cannot tell models apart",
            where=str(path),
            next_step="ask at least two questions of each kind with different answers",
        )


def _row(path: Path, number: int, line: str) -> JsonObject:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        _refuse(path, number, f"is not JSON ({error})", "write one JSON object a line")
    if not isinstance(row, dict):
        _refuse(
            path, number, "is not a JSON object", 'write {"question": ..., "choices": [...], "answer": ...}'
        )
    if unknown := sorted(row.keys() - _FIELDS):
        _refuse(path, number, f"has {unknown[0]!r}, which nothing reads", f"use {', '.join(sorted(_FIELDS))}")
    return row


def _texts(row: JsonObject, path: Path, number: int, needed: tuple[str, ...]) -> dict[str, str]:
    texts = {name: row.get(name, "") for name in (*needed, "passage", "doc", "id", "access")}
    for name, value in texts.items():
        if not isinstance(value, str) or (name in needed and not value.strip()):
            _refuse(path, number, f"{name!r} is {value!r}", f"write text for {name!r}")
    return texts


def _open_item(row: JsonObject, path: Path, number: int, task: str) -> OpenItem:
    texts = _texts(row, path, number, ("question",))
    given = row.get("answer")
    answers = [each for each in (given if isinstance(given, list) else [given]) if _is_answer(each)]
    if not answers or (isinstance(given, list) and len(answers) < len(given)):
        _refuse(path, number, f"'answer' is {given!r}", "write text, or a list of texts that are all right")
    passage, name = texts["passage"], texts["id"] or str(number)
    if missing := [each for each in answers if passage and each not in passage]:
        _refuse(path, number, f"the answer {missing[0]!r} is not in its passage", "copy it from there")
    kind = EXTRACTION if passage else SHORT
    return OpenItem(
        item=f"{task}:{name}",
        task=f"{task}.{kind}",
        doc_id=texts["doc"] or f"{task}:{name}",
        text=passage,
        question=f"{chr(10) * 2 if passage else ''}Question: {texts['question'].strip()}\nAnswer:",
        answers=tuple(each.strip() for each in answers),
        kind=kind,
        span=_span(row.get("span"), passage, answers[0], path, number),
        access=texts["access"].strip(),
    )


def _is_answer(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and re.search(r"\w", value) is not None


def _span(given: Any, passage: str, answer: str, path: Path, number: int) -> tuple[int, int] | None:
    """Return where in the passage the answer stands; None where that is not said."""
    if given is None:
        return None
    whole = isinstance(given, list) and len(given) == 2 and all(type(each) is int for each in given)
    if not whole or given[0] < 0 or passage[given[0] : given[1]] != answer:
        found = passage.find(answer)
        hint = f"write [{found}, {found + len(answer)}]" if passage else "give a passage, or leave it out"
        _refuse(path, number, f"'span' {given!r} is not where the answer stands", hint)
    return given[0], given[1]


def _item(row: JsonObject, path: Path, number: int, task: str) -> Item:
    texts = _texts(row, path, number, ("question", "answer"))
    if "span" in row:
        _refuse(path, number, "has 'span' beside 'choices', which nothing reads", "leave one of them out")
    choices = row.get("choices")
    if not isinstance(choices, list) or not all(isinstance(each, str) and each.strip() for each in choices):
        _refuse(path, number, "'choices' is not a list of texts", "give at least two choices")
    stripped = [each.strip() for each in choices]
    if len(stripped) < 2 or len(set(stripped)) < len(stripped):
        _refuse(
            path,
            number,
            f"has {len(set(stripped))} different of {len(stripped)} choices",
            "give different ones",
        )
    if texts["answer"].strip() not in stripped:
        _refuse(path, number, f"the answer {texts['answer']!r} is not one of the choices", "give one of them")
    passage, name = texts["passage"].strip(), texts["id"] or str(number)
    return Item(
        item=f"{task}:{name}",
        task=task,
        doc_id=texts["doc"] or f"{task}:{name}",
        text=passage,
        question=f"{chr(10) * 2 if passage else ''}Question: {texts['question'].strip()}\nAnswer:",
        answer=texts["answer"].strip(),
        choices=tuple(stripped),
        kind=ItemKind.OWN,
        access=texts["access"].strip(),
    )


def _refuse(path: Path, number: int, what: str, next_step: str) -> NoReturn:
    raise RecipeError(what, where=f"{path}, line {number}", next_step=next_step)
