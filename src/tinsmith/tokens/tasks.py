"""Tasks: a question after the opening of a document, with its answer from the document's metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.recipe import TaskConfig
from tinsmith.tokens.templates import readable, template_fields

Count = Callable[[str], int]
_SMALLEST_OPENING = 8  # tokens of a document; with fewer, a question has nothing to be about


def question_text(question: str) -> str:
    """Return the question as it is encoded: without trailing white space."""
    return question.rstrip()


def answer_text(answer: str) -> str:
    """Return the answer as it is encoded: between a space and a line end."""
    return f" {answer}\n"


@dataclass(frozen=True)
class Prompt:
    """One question about one document: `text` is the document's opening, `question` follows it."""

    text: str
    question: str
    answer: str
    choices: tuple[str, ...]

    def row(self, task: str, doc_id: str) -> dict[str, Any]:
        """Return the row of exam.jsonl or shots.jsonl."""
        names = {"item": f"{task}:{doc_id}", "task": task, "doc_id": doc_id}
        return {**names, **asdict(self), "choices": list(self.choices)}


class Task:
    """A task with known choices; `prompt` makes training openings, exam items and examples alike."""

    def __init__(
        self, config: TaskConfig, training_metas: Iterable[dict[str, Any]], *, room: int, count: Count
    ) -> None:
        """Check the templates against the metadata of the training documents. Raises RecipeError.

        Prompts leave room for one more token: opening, question and answer fit into `room` - 1 by `count`.
        """
        self.name, self._characters = config.name, config.characters
        self._where, self._room, self._count = f"tasks.{config.name}", room, count
        self._question, self._answer = self._after_text(config.question), config.answer
        metas = list(training_metas)
        self._check_keys(metas)
        self.choices = tuple(config.choices) or self._answers_in(metas)
        # The longest answer, not the document's: the length of the opening must not reveal the answer.
        self._answer_tokens = max(count(answer_text(choice)) for choice in self.choices)

    def prompt(self, text: str, meta: dict[str, Any]) -> Prompt | None:
        """Return the question about a document, or None if its metadata lack a key or its answer is not a choice.

        Raises RecipeError if the question leaves no room for the document.
        """
        values = _readable(meta)
        if not self._needed <= set(values):
            return None
        answer = self._answer.format(**values).strip()
        if answer not in self.choices:
            return None
        question = question_text(self._question.format(**values, choices=", ".join(self.choices)))
        left = self._room - 1 - self._count(question) - self._answer_tokens
        if left < _SMALLEST_OPENING:
            raise self._mistake(
                f"question and answer leave {left} of {self._room} tokens for the document",
                "increase tokenize.context or shorten the question",
            )
        return Prompt(_fit(text, self._characters, left, self._count), question, answer, self.choices)

    def _after_text(self, template: str) -> str:
        names = self._fields("question", template)
        if not template.startswith("{text}") or names.count("text") != 1:
            raise self._mistake("the question must start with {text} and contain it once", "put {text} first")
        return template.removeprefix("{text}")

    def _check_keys(self, metas: Sequence[dict[str, Any]]) -> None:
        known = sorted({key for meta in metas for key in _readable(meta)})
        wanted = {"question": set(self._fields("question", self._question)) - {"choices"}}
        wanted["answer"] = set(self._fields("answer", self._answer))
        self._needed = wanted["question"] | wanted["answer"]
        for role, keys in wanted.items():
            for key in sorted(keys - set(known)):
                why = f"the {role} uses {{{key}}}, which no training document has in its metadata"
                raise self._mistake(why, f"use one of the keys: {', '.join(known) or 'there are none'}")
        if not wanted["answer"]:
            raise self._mistake(
                "the answer uses no metadata, so it is always the same", "write a key such as {category}"
            )

    def _fields(self, role: str, template: str) -> list[str]:
        return template_fields(role, template, where=self._where)

    def _answers_in(self, metas: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        keys = set(self._fields("answer", self._answer))
        readable = [values for values in map(_readable, metas) if keys <= set(values)]
        answers = sorted({answer for values in readable if (answer := self._answer.format(**values).strip())})
        if not answers:
            raise self._mistake("no training document has an answer", "use a key that documents have")
        return tuple(answers)

    def _mistake(self, what: str, next_step: str) -> RecipeError:
        return RecipeError(what, where=self._where, next_step=next_step)


def read_meta(text: str | None) -> dict[str, Any]:
    """Return the metadata column of one document as a dictionary."""
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}


def unit_hash(*parts: object) -> float:
    """Return a pseudo-random number in [0, 1) that depends only on the parts."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def cut_at_word(text: str, characters: int) -> str:
    """Return at most `characters` from the beginning, cut at white space if there is any."""
    if len(text) <= characters:
        return text
    if not text[characters].isspace():
        ends = [index for index in range(characters) if text[index].isspace()]
        characters = ends[-1] if ends and text[: ends[-1]].strip() else characters
    return text[:characters].rstrip() or text[:characters]


def _fit(text: str, characters: int, tokens: int, count: Count) -> str:
    opening = cut_at_word(text, characters)
    while (have := count(opening)) > tokens and len(opening) > 1:
        opening = cut_at_word(text, max(1, min(len(opening) - 1, len(opening) * tokens // have)))
    return opening


def _readable(meta: dict[str, Any]) -> dict[str, str]:
    """Return the metadata that a template can use, without `text` and `choices`, which mean something else there."""
    return {key: value for key, value in readable(meta).items() if key not in ("text", "choices")}
