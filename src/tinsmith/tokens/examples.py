"""Read conversations and preferences from JSON Lines files; a damaged line is rejected with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.tokens.chat import Message

_ROLES = ("system", "user", "assistant")
# How files say of an answer that it is read and not learnt: 0 or false. 1, true and null are as if nothing were said.
_WEIGHTS = ("weight", "train", "training", "loss")
# What would be lost if a message or a line with it were learnt as text alone.
_UNKNOWN = ("tools", "tool_calls", "functions", "function_call", "audio")


@dataclass(frozen=True)
class Conversation:
    """A conversation. `name` and `line` are its file and line, or for a task a document's id and 0."""

    name: str
    line: int
    messages: tuple[Message, ...]
    task: str = ""

    @property
    def where(self) -> str:
        """Return the location shown in messages, which is also the sequences' doc_id."""
        return f"{self.name}:{self.line}" if self.line else self.name

    @property
    def text(self) -> str:
        """Return all messages, one a line."""
        return "\n".join(message.content for message in self.messages)


@dataclass(frozen=True)
class Preference(Conversation):
    """A conversation that ends in a question, with a better and a worse answer."""

    chosen: str = ""
    rejected: str = ""

    @property
    def text(self) -> str:
        """Return all messages and both answers, one a line."""
        return "\n".join([super().text, self.chosen, self.rejected])


Example = TypeVar("Example", bound=Conversation)


@dataclass
class Rejects:
    """Examples that are left out or divided, and why: the rows of rejects.jsonl."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, example: Conversation, reason: str, detail: str) -> None:
        """Add an example with a reason (one word) and details."""
        self.add_line(example.name, example.line, reason, detail)

    def add_line(self, name: str, line: int, reason: str, detail: str) -> None:
        """Add a line that cannot be read as an example."""
        self.rows.append({"source": name, "line": line, "reason": reason, "detail": detail})


class _Damaged(Exception):
    """A line cannot be read as an example: reason and detail."""


def read_conversations(name: str, rejects: Rejects) -> list[Conversation]:
    """Read one {"messages": [{"role", "content"}, ...]} a line.

    Raises RecipeError for a file that cannot be read, CorpusError for one without a usable line.
    """

    def parse(row: dict[str, Any], line: int) -> Conversation:
        _refuse_line(row)
        messages = _messages(row.get("messages"), "messages")
        for message in messages:
            if message.role == "assistant" and message.learnt and not message.content.strip():
                raise _Damaged("empty_answer", "an answer of the assistant is empty")
        return Conversation(name, line, messages)

    return _read(name, parse, rejects, '{"messages": [{"role": "user", "content": "..."}, ...]}')


def read_preferences(name: str, rejects: Rejects) -> list[Preference]:
    """Read one {"prompt", "chosen", "rejected"} a line, each a text or a list of messages.

    Raises RecipeError for a file that cannot be read, CorpusError for one without a usable line.
    """

    def parse(row: dict[str, Any], line: int) -> Preference:
        _refuse_line(row)
        value = row.get("prompt")
        prompt = (Message("user", _text(value)),) if isinstance(value, str) else _read_only(value, "prompt")
        if prompt[-1].role != "user":
            raise _Damaged(
                "no_question", f"the prompt ends with a message of the {prompt[-1].role}, not of the user"
            )
        chosen, rejected = (_answer(row.get(side), prompt, side) for side in ("chosen", "rejected"))
        return Preference(name, line, prompt, chosen=chosen, rejected=rejected)

    return _read(name, parse, rejects, '{"prompt": "...", "chosen": "...", "rejected": "..."}')


def _read(
    name: str, parse: Callable[[dict[str, Any], int], Example], rejects: Rejects, form: str
) -> list[Example]:
    examples: list[Example] = []
    first_reject = ""
    for line, data in _lines(name):
        try:
            examples.append(parse(_row(data), line))
        except _Damaged as damage:
            reason, detail = damage.args
            rejects.add_line(name, line, reason, detail)
            first_reject = first_reject or f"; line {line}: {detail}"
    if not examples:
        raise CorpusError(
            f"contains no usable line{first_reject}", where=name, next_step=f"write one {form} per line"
        )
    return examples


def _lines(name: str) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, bytes) of each line that is not blank."""
    try:
        with Path(name).expanduser().open("rb") as file:
            # A carriage return is never part of a JSON text.
            lines = (part for line in file for part in line.removesuffix(b"\r\n").split(b"\r"))
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise RecipeError(
            f"cannot be read ({error.strerror})",
            where=name,
            next_step="check the path to the JSON Lines file",
        ) from None


def _row(data: bytes) -> dict[str, Any]:
    try:
        row = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _Damaged("no_json", str(error)) from None
    if not isinstance(row, dict):
        raise _Damaged("no_json", "the line is not a JSON object")
    return row


def _messages(value: Any, key: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(part, dict) for part in value):
        raise _Damaged("no_messages", f"{key} is not a list of messages")
    for part in value:
        if part.get("role") not in _ROLES:
            raise _Damaged("unknown_role", f"the role {part.get('role')!r} is not one of {', '.join(_ROLES)}")
        _refuse_unknown(part)
    return tuple(_message(part) for part in value)


def _read_only(value: Any, key: str) -> tuple[Message, ...]:
    """Return the messages of a prompt, which is read and not learnt, whatever weights its answers have."""
    return tuple(message._replace(learnt=True) for message in _messages(value, key))


def _message(part: dict[str, Any]) -> Message:
    """Return a message. Only answers are learnt, so only they may be told to be."""
    role, content = part["role"], _text(part.get("content"))
    named = [name for name in _WEIGHTS if part.get(name) is not None]
    if role == "assistant":
        return Message(role, content, _is_learnt(part))
    if named and _is_learnt(part):
        raise _Damaged(
            "weighted_message", f"a message of the {role} has a {named[0]}, and only answers are learnt"
        )
    return Message(role, content)


def _is_learnt(part: dict[str, Any], names: tuple[str, ...] = _WEIGHTS) -> bool:
    """Return whether no weight of a message or line says that it is not learnt."""
    weights = {name: part[name] for name in names if part.get(name) is not None}
    for name, weight in weights.items():
        if not isinstance(weight, bool | int | float) or weight not in (0, 1):
            raise _Damaged(
                "weighted_message", f"a {name} is {weight!r}; only 0 and 1, or false and true, are known"
            )
    return all(weights.values())


def _refuse_line(row: dict[str, Any]) -> None:
    _refuse_unknown(row)
    if not _is_learnt(row, ("weight",)):
        raise _Damaged("nothing_learnt", "the line has the weight 0")


def _refuse_unknown(part: dict[str, Any]) -> None:
    for name in _UNKNOWN:
        if part.get(name):
            raise _Damaged("tools", f"{name} would be lost, since text alone is learnt")


def _answer(value: Any, prompt: tuple[Message, ...], side: str) -> str:
    """Return an answer: a text, or a list of one assistant message, which may repeat the prompt first."""
    if isinstance(value, list):
        if not all(message.learnt for message in _messages(value, side)[-1:]):
            raise _Damaged("weighted_message", f"{side} has the weight 0, and is learnt in any case")
        messages = _read_only(value, side)
        messages = messages[len(prompt) :] if messages[: len(prompt)] == prompt else messages
        if [message.role for message in messages] != ["assistant"]:
            raise _Damaged("no_answer", f"{side} is not a single message of the assistant")
        value = messages[0].content
    text = _text(value)
    if not text.strip():
        raise _Damaged("empty_answer", f"{side} is empty")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Damaged("no_text", f"a text is of type {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _Damaged("no_text", "a text contains an unpaired surrogate") from None
    return value
