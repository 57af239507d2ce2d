"""Conversations and preferences out of JSON Lines files; a damaged line is left out with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.tokens.chat import Message

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Conversation:
    """What was said in turn. `name` is a file, `line` its line; or a document's id and 0, with its task."""

    name: str
    line: int
    messages: tuple[Message, ...]
    task: str = ""

    @property
    def where(self) -> str:
        """Return the place to name in messages, and as the sequences' doc_id."""
        return f"{self.name}:{self.line}" if self.line else self.name

    @property
    def text(self) -> str:
        """Return all that was said."""
        return "\n".join(message.content for message in self.messages)


@dataclass(frozen=True)
class Preference(Conversation):
    """A conversation that ends in a question, and two answers to it, of which one is better."""

    chosen: str = ""
    rejected: str = ""

    @property
    def text(self) -> str:
        """Return all that was said, both answers included."""
        return "\n".join([super().text, self.chosen, self.rejected])


Kind = TypeVar("Kind", bound=Conversation)


@dataclass
class Rejects:
    """What is not learnt from, or not whole, and why: rows of rejects.jsonl."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, example: Conversation, reason: str, detail: str) -> None:
        """Note a reason, one word, and what was found."""
        self.add_line(example.name, example.line, reason, detail)

    def add_line(self, name: str, line: int, reason: str, detail: str) -> None:
        """Note a reason for a line that is no example."""
        self.rows.append({"source": name, "line": line, "reason": reason, "detail": detail})


class _Damaged(Exception):
    """A line is no example: reason and detail."""


def read_conversations(name: str, rejects: Rejects) -> list[Conversation]:
    """Read {"messages": [{"role", "content"}, ...]} a line. Raises RecipeError, CorpusError if none is whole."""

    def parse(row: dict[str, Any], line: int) -> Conversation:
        messages = _messages(row.get("messages"), "messages")
        for message in messages:
            if message.role == "assistant" and not message.content.strip():
                raise _Damaged("empty_answer", "the assistant says nothing")
        return Conversation(name, line, messages)

    return _read(name, parse, rejects, '{"messages": [{"role": "user", "content": "..."}, ...]}')


def read_preferences(name: str, rejects: Rejects) -> list[Preference]:
    """Read {"prompt", "chosen", "rejected"} a line, as texts or as messages. Raises RecipeError, CorpusError."""

    def parse(row: dict[str, Any], line: int) -> Preference:
        asked = row.get("prompt")
        prompt = (Message("user", _text(asked)),) if isinstance(asked, str) else _messages(asked, "prompt")
        if prompt[-1].role != "user":
            raise _Damaged("no_question", f"the prompt ends with the {prompt[-1].role}")
        chosen, rejected = (_answer(row.get(side), prompt, side) for side in ("chosen", "rejected"))
        return Preference(name, line, prompt, chosen=chosen, rejected=rejected)

    return _read(name, parse, rejects, '{"prompt": "...", "chosen": "...", "rejected": "..."}')


def _read(name: str, parse: Callable[[dict[str, Any], int], Kind], rejects: Rejects, form: str) -> list[Kind]:
    found: list[Kind] = []
    first = ""
    for line, data in _lines(name):
        try:
            found.append(parse(_row(data), line))
        except _Damaged as damage:
            reason, detail = damage.args
            rejects.add_line(name, line, reason, detail)
            first = first or f"; line {line}: {detail}"
    if not found:
        raise CorpusError(
            f"holds no line that can be used{first}", where=name, next_step=f"write {form} a line"
        )
    return found


def _lines(name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, numbered from 1."""
    try:
        with Path(name).expanduser().open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise RecipeError(
            f"cannot be read ({error.strerror})", where=name, next_step="name a JSON Lines file that is there"
        ) from None


def _row(data: bytes) -> dict[str, Any]:
    try:
        row = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _Damaged("no_json", str(error)) from None
    if not isinstance(row, dict):
        raise _Damaged("no_json", "the line is no JSON object")
    return row


def _messages(value: Any, key: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(part, dict) for part in value):
        raise _Damaged("no_messages", f"{key} is no list of messages")
    for part in value:
        if part.get("role") not in _ROLES:
            raise _Damaged("unknown_role", f"the role {part.get('role')!r} is none of {', '.join(_ROLES)}")
    return tuple(Message(part["role"], _text(part.get("content"))) for part in value)


def _answer(value: Any, prompt: tuple[Message, ...], side: str) -> str:
    """Return one answer: a text, or one message of the assistant, which the prompt may precede."""
    if isinstance(value, list):
        messages = _messages(value, side)
        messages = messages[len(prompt) :] if messages[: len(prompt)] == prompt else messages
        if [message.role for message in messages] != ["assistant"]:
            raise _Damaged("no_answer", f"{side} is not one message of the assistant")
        value = messages[0].content
    text = _text(value)
    if not text.strip():
        raise _Damaged("empty_answer", f"{side} says nothing")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Damaged("no_text", f"a text is {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _Damaged("no_text", "a text has half a surrogate pair") from None
    return value
