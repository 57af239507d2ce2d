"""What a job asks about one example: for each ask an input, a question and the answer that is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinsmith.jobs.prompt import Prompt, make_prompt
from tinsmith.jobs.spec import Job

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NONE = "none"  # the answer where the text holds none
SEPARATOR = "; "  # between several labels or spans in one answer


@dataclass(frozen=True)
class Ask:
    """One question to the model: the text that it reads, the question after it, and the right answer if known."""

    text: str
    question: str
    answer: str | None = None
    field: str = ""  # of an extraction


def asks_of(job: Job, row: dict[str, Any]) -> list[Ask]:
    """Return the asks of a row of examples; a row without `answer` gives asks without one."""
    text, answer = row["input"], row.get("answer")
    if job.config.kind == "classify" and job.config.several:
        answer = None if answer is None else listed(job.labels, answer)
    return [Ask(text, job.config.asked, answer)]


def answer_room(job: Job) -> int:
    """Return the tokens of the context that are kept for the answer: half where a text is written, else an eighth."""
    return job.config.context // (2 if job.config.kind == "write" else 8)


def prompt_of(job: Job, tokenizer: PreTrainedTokenizerFast, ask: Ask) -> Prompt:
    """Return the prompt of an ask, cut so that the answer still fits into the job's context."""
    config = job.config
    return make_prompt(
        tokenizer, ask.text, ask.question, room=config.context - answer_room(job), keep=config.keep
    )


def listed(labels: Sequence[str], chosen: Sequence[str]) -> str:
    """Write several labels as one answer, in the order of the job's labels."""
    return SEPARATOR.join(label for label in labels if label in chosen) or NONE
