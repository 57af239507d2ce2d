"""The one prompt of a job: training, exam, parity gate, server, `run` and page all ask with these token ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tinsmith.base.errors import RecipeError
from tinsmith.tokens.encoding import context_token, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SMALLEST_INPUT = 8  # tokens; with fewer, there is nothing to ask about


@dataclass(frozen=True)
class Prompt:
    """A question about an input as token ids, and how many tokens of the input were left out."""

    ids: tuple[int, ...]
    left_out: int = 0


def make_prompt(
    tokenizer: PreTrainedTokenizerFast,
    text: str,
    question: str,
    *,
    room: int,
    keep: Literal["start", "end"] = "start",
) -> Prompt:
    """Return the prompt of at most `room` tokens: begin of text, the input, an empty line, the question.

    A longer input keeps its start or its end. Markup such as <|im_end|> in it stays ordinary text.
    Raises RecipeError if the question leaves no room for an input.
    """
    begin, after = [context_token(tokenizer)], encode(tokenizer, f"\n\n{question.strip()}")
    left = room - len(begin) - len(after)
    if left < SMALLEST_INPUT:
        raise RecipeError(
            f"the question leaves {left} of {room} tokens for the input",
            where="jobs.question",
            next_step="raise the job's `context`, or shorten the question",
        )
    ids = encode(tokenizer, text.strip())
    kept = ids if len(ids) <= left else ids[:left] if keep == "start" else ids[-left:]
    return Prompt((*begin, *kept, *after), len(ids) - len(kept))


def answer_ids(tokenizer: PreTrainedTokenizerFast, answer: str) -> tuple[int, ...]:
    """Return an answer as token ids: after a space, ended by a line end."""
    return tuple(encode(tokenizer, f" {answer.strip()}") + encode(tokenizer, "\n"))
