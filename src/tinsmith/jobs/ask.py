"""What passes between a job and a model: asks, replies, and the result for a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

NONE = "none"  # the answer where the text holds none
SEPARATOR = "; "  # between several labels or spans in one answer


@dataclass(frozen=True)
class Ask:
    """One question to the model: the text that it reads, the question after it, and the right answer if known."""

    text: str
    question: str
    answer: str | None = None
    field: str = ""  # of an extraction
    start: int = 0  # where `text` begins in the input, in characters
    look: float = 0.0  # the first look's score of the passage for the field: higher where it may hold a value


@dataclass(frozen=True)
class Reply:
    """What a model wrote to an ask, the product of the probabilities of its tokens, and whether it came to its end."""

    text: str
    confidence: float = 1.0
    ended: bool = True


@dataclass(frozen=True)
class Result:
    """The answer to a row in the form of the job's examples, its confidence, and why it is withheld, if it is.

    `confidence` is None for a written text: of two good texts one may be far less likely than the other. `withheld` is
    empty for an answer that is given. `fields` of an extraction: by name, a list of values as
    `tinsmith.jobs.spans.Value`.
    """

    answer: Any
    confidence: float | None
    withheld: str = ""
    fields: dict[str, list[Any]] = field(default_factory=dict)
    tries: int = 1  # how often it was asked for, because an earlier answer broke a check
    notes: tuple[str, ...] = ()  # what a part of it was left out for


class JobAnswerer(Protocol):
    """A model that answers asks, in order: llama.cpp in `serve`, PyTorch and endpoints in `evaluate`."""

    def none_probabilities(self, asks: Sequence[Ask]) -> list[float] | None:
        """Return for each ask the probability that its answer begins with the first token of " none".

        None if it does not tell probabilities; then it may write "none".
        """
        ...

    def replies(
        self, asks: Sequence[Ask], grammars: Sequence[str], *, seed: int | None = None
    ) -> list[Reply]:
        """Write an answer to each ask under its GBNF grammar: the likeliest tokens, or drawn with a seed.

        A model that cannot be held to a grammar writes until the line ends; the reader then checks what it wrote.
        """
        ...
