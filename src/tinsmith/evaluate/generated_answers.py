"""Questions answered in words: one prompt for every system, how its answer is read, and what is stored of both."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np

from tinsmith.base.completion import Answer, Failure
from tinsmith.base.files import read_jsonl
from tinsmith.evaluate.own_questions import EXTRACTION, OpenItem
from tinsmith.evidence.items import Item, ItemKind

SYSTEM = "You answer questions about documents. Answer as briefly as you can, without explaining."
STOPPED = "stopped"  # the reason of questions after an endpoint gave up
NOT_ASKED = frozenset({"budget", "time", STOPPED, "withheld"})
OWN_FAILURES = frozenset({"refused", "empty"})  # the system gave nothing usable, by its own fault
_GAP = "____"
_GAP_QUESTION = f"Question: What text belongs in the gap ({_GAP})?"
_EARLIER_GAP_QUESTION = f"Question: What stands in the gap ({_GAP})?"  # in bundles of an earlier version
_LETTERS = string.ascii_uppercase
_ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
_FIRST = re.compile(r"[\W_]*([A-Z])[\W_]*[.):*](?:\s|$)")
_NAMED = re.compile(
    r"\b(?i:answer|option|choice|letter)(?:\s+(?:is|would be))?[\s:*(\"']*([A-Z])\b(?!\s+(?:[a-z]|or\b|and\b))"
)
_ARTICLES = frozenset({"a", "an", "the"})
Question = Item | OpenItem


class GeneratedRow(TypedDict):
    """A stored answer in words: the prompt, the answer as it came and how it was read, or why none came."""

    item: str
    task: str
    doc_id: str
    prompt: str
    choices: list[str]
    accepted: list[str]
    raw: str
    failure: str
    detail: str
    input_tokens: int
    output_tokens: int
    prediction: str
    correct: bool
    f1: float | None


def choose_questions(items: Sequence[Question], limit: int, *, seed: int) -> list[Question]:
    """Return at most `limit` questions, drawn by the seed and in their order."""
    drawn = sorted(np.random.default_rng(seed).permutation(len(items))[:limit])
    return [items[i] for i in drawn]


def build_prompt(item: Question) -> str:
    """Return the prompt for every system: passage, question, and lettered choices or a request for few words."""
    asked = _asked(item)
    if isinstance(item, OpenItem):
        how = (
            "Answer with the words of the passage alone."
            if item.kind == EXTRACTION
            else "Answer in a few words."
        )
        return f"{asked}\n\n{how}"
    if len(item.choices) > len(_LETTERS):
        listed = "\n".join(f"- {choice}" for choice in item.choices)
        return f"{asked}\n\n{listed}\n\nAnswer with one of these alone."
    listed = "\n".join(
        f"{letter}. {choice.strip()}" for letter, choice in zip(_LETTERS, item.choices, strict=False)
    )
    return f"{asked}\n\n{listed}\n\nAnswer with the letter of the right choice alone."


def current_wording(prompt: str) -> str:
    """Return a stored prompt in today's wording."""
    return prompt.replace(_EARLIER_GAP_QUESTION, _GAP_QUESTION)


def _asked(item: Question) -> str:
    if isinstance(item, Item) and item.kind is ItemKind.NEXT_PASSAGE:
        return f"{item.text}\n\nQuestion: Which passage comes next?"
    if isinstance(item, Item) and item.kind is ItemKind.CLOZE:
        return f"{item.text}{item.lead}{_GAP}{item.tail}\n\n{_GAP_QUESTION}"
    return (item.text + item.question).removesuffix("\nAnswer:").strip()


def read_answer(item_choices: Sequence[str], raw: str) -> str:
    """Return the choice that an answer names by letter, by its text or alone in prose; '' where it names none.

    Without choices the answer is its first line.
    """
    if not item_choices:
        return next((line.strip() for line in raw.splitlines() if line.strip()), "")
    by_letter = _by_letter(item_choices, raw)
    if by_letter is not None:
        return by_letter
    texts = {choice: f" {normalise(choice)} " for choice in item_choices}
    said = f" {normalise(raw)} "
    if exact := [choice for choice, text in texts.items() if text == said]:
        return exact[0] if len(exact) == 1 else ""
    named = [choice for choice, text in texts.items() if text.strip() and text in said]
    # A choice within a longer one that was named is not named by itself.
    longest = [c for c in named if not any(texts[c] in texts[other] for other in named if other != c)]
    return longest[0] if len(longest) == 1 else ""


def _by_letter(choices: Sequence[str], raw: str) -> str | None:
    """Return the choice of the one letter that is given; '' where letters differ, None where there is none."""
    if len(choices) > len(_LETTERS):
        return None
    if alone := _ALONE.fullmatch(raw):
        found = {alone[1].upper()}
    else:
        first = _FIRST.match(raw)
        found = ({first[1]} if first else set()) or set(_NAMED.findall(raw))
    places = {_LETTERS.index(letter) for letter in found}
    if not places:
        return None
    place = places.pop()
    return choices[place] if not places and place < len(choices) else ""


def normalise(text: str) -> str:
    """Return a text in lower case without punctuation, articles and doubled spaces, as short answers are compared."""
    kept = "".join(letter if letter.isalnum() else " " for letter in text.casefold())
    words = kept.split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def token_f1(said: str, accepted: Iterable[str]) -> float:
    """Return the best F1 of the words said with one of the accepted answers, after normalising, 0 to 1."""
    return max((_f1(normalise(said).split(), normalise(each).split()) for each in accepted), default=0.0)


def _f1(said: list[str], true: list[str]) -> float:
    shared = (Counter(said) & Counter(true)).total()
    return 2 * shared / (len(said) + len(true)) if shared else 0.0


def generated_row(item: Question, outcome: Answer | Failure) -> GeneratedRow:
    """Return what is stored of one question."""
    answer = outcome if isinstance(outcome, Answer) else None
    failure = outcome if isinstance(outcome, Failure) else None
    choices, accepted = options(item)
    grade = grade_answer(choices, accepted, answer.text if answer else "", failed=failure is not None)
    return {
        "item": item.item,
        "task": item.task,
        "doc_id": item.doc_id,
        "prompt": build_prompt(item),
        "choices": choices,
        "accepted": accepted,
        "raw": answer.text if answer else "",
        "failure": failure.reason if failure else "",
        "detail": failure.detail if failure else "",
        "input_tokens": answer.input_tokens if answer else 0,
        "output_tokens": answer.output_tokens if answer else 0,
        "prediction": grade.prediction,
        "correct": grade.correct,
        "f1": grade.f1,
    }


def options(item: Question) -> tuple[list[str], list[str]]:
    """Return the choices of a question, none for an open one, and the answers that are accepted."""
    if isinstance(item, Item):
        return list(item.choices), [item.answer]
    return [], list(item.answers)


class Grade(NamedTuple):
    """How an answer was read: the choice or the text that it gives, whether it is correct, and its F1 if open."""

    prediction: str
    correct: bool
    f1: float | None


def grade_answer(choices: Sequence[str], accepted: Sequence[str], raw: str, *, failed: bool) -> Grade:
    """Grade an answer from its text alone."""
    said = "" if failed else read_answer(choices, raw)
    if choices:
        return Grade(said, said in accepted, None)
    correct = bool(said) and normalise(said) in {normalise(answer) for answer in accepted}
    return Grade(said, correct, token_f1(said, accepted))


def is_counted(row: GeneratedRow) -> bool:
    """Say whether a question counts: answered, or refused by the system; not if budget or connection failed."""
    return not row["failure"] or row["failure"] in OWN_FAILURES


def read_open(path: Path) -> list[OpenItem]:
    """Read what `open.jsonl` holds: a person's own questions without choices."""
    return [
        OpenItem(
            **row | {"answers": tuple(row["answers"]), "span": tuple(row["span"]) if row["span"] else None}
        )
        for row in read_jsonl(path)
    ]
