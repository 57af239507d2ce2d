"""A question to a language model, and its outcome: an answer or a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

BYTES_PER_CHARACTER = 4  # at most, in UTF-8


@dataclass(frozen=True)
class Request:
    """One question. `schema` is a JSON schema for the answer, used where the endpoint supports one.

    `documents` names the documents whose text stands in it. A request that names none never leaves the machine.
    """

    prompt: str
    system: str = ""
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int | None = None
    schema: dict[str, Any] | None = None
    documents: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Count the bytes of its text in UTF-8."""
        return len(f"{self.system}{self.prompt}".encode("utf-8", "replace"))


@dataclass(frozen=True)
class Answer:
    """A model's answer and its cost: money in the recipe's currency, `joules` or None if not measured."""

    text: str
    input_tokens: int
    output_tokens: int
    seconds: float
    cost: float = 0.0
    joules: float | None = None
    whole: bool = True  # False if max_tokens cut it off
    estimated: bool = False  # the endpoint reported no token counts; they are derived from lengths
    cached: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a question has no answer: the reason in one word, and a detail."""

    reason: str
    detail: str


Ask = Callable[[Iterable[Request]], Iterator[Answer | Failure]]
