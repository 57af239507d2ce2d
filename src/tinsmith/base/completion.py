"""What is asked of a model in words, and what comes back: an answer, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """One question to a model. `schema` is a JSON schema for the answer where the endpoint knows such."""

    prompt: str
    system: str = ""
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int | None = None
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """What a model said and what it took; `cost` is money, `joules` None where nobody could measure them."""

    text: str
    input_tokens: int
    output_tokens: int
    seconds: float
    cost: float = 0.0
    joules: float | None = None
    whole: bool = True  # False where max_tokens cut it off
    estimated: bool = False  # tokens counted by length, since the endpoint did not say
    cached: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a question has no answer: a reason, one word, and what was seen."""

    reason: str
    detail: str


Ask = Callable[[Iterable[Request]], Iterator[Answer | Failure]]
