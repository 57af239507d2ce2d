"""What a job asks about one example: for each ask an input, a question and the answer that is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinsmith.jobs import answer, extract, write
from tinsmith.jobs.ask import NONE, SEPARATOR, Ask, JobAnswerer, Reply, Result
from tinsmith.jobs.checks import Checks, settle
from tinsmith.jobs.prompt import Prompt, make_prompt
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.scoring import exact_match, spans_f1
from tinsmith.jobs.spec import Job, answer_room

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def asks_of(job: Job, row: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> list[Ask]:
    """Return the asks of a row of examples; a row without `answer` gives asks without one.

    An extraction asks for each field in each passage; of passages without a value, examples keep a few.
    """
    if job.config.kind == "extract":
        return extract.asks(job, row, tokenizer)
    if job.config.kind == "answer":
        return [answer.ask(job, row)]
    if job.config.kind == "write":
        return [write.ask(job, row)]
    text, right = row["input"], row.get("answer")
    if job.config.kind == "classify" and job.config.several:
        right = None if right is None else listed(job.labels, right)
    return [
        Ask(
            text,
            job.question(row.get("record", {})),
            right,
        )
    ]


def results(
    job: Job, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, model: JobAnswerer
) -> list[Result]:
    """Ask a model about each row and return what it answers, in order; for all kinds but classify.

    An answer that breaks a check of the job is asked for again, then withheld.
    """
    checks = Checks(job.config)

    def ask(waiting: Sequence[dict[str, Any]], attempt: int) -> list[Result]:
        seeded = model if attempt == 0 else _Seeded(model, attempt)
        if job.config.kind == "write":
            return write.results(job, waiting, checks, seeded)
        kind = {"extract": extract.results, "answer": answer.results}[job.config.kind]
        return kind(job, waiting, tokenizer, seeded)

    return settle(checks, rows, ask)


class _Seeded:
    """A model whose answers are drawn with a seed, instead of its likeliest ones."""

    def __init__(self, model: JobAnswerer, seed: int) -> None:
        self.model, self.seed = model, seed

    def none_probabilities(self, asks: Sequence[Ask]) -> list[float] | None:
        return self.model.none_probabilities(asks)

    def replies(
        self, asks: Sequence[Ask], grammars: Sequence[str], *, seed: int | None = None
    ) -> list[Reply]:
        return self.model.replies(asks, grammars, seed=self.seed)


def how_right(job: Job, ask: Ask, written: str) -> float:
    """Return how right a written answer to an ask is: of an extraction the F1 of its values, 0 to 1, else 0 or 1."""
    right, said = ask.answer or "", written.strip().partition("\n")[0].strip()
    if job.config.kind == "extract":
        several = any(field.several for field in fields_of(job.config) if field.name == ask.field)
        return spans_f1(said.split(SEPARATOR), right.split(SEPARATOR), several=several)
    if job.config.kind == "answer":
        return float(exact_match(said.partition(answer.QUOTE_MARK)[0], right.partition(answer.QUOTE_MARK)[0]))
    return float(said == right)


def prompt_of(job: Job, tokenizer: PreTrainedTokenizerFast, ask: Ask) -> Prompt:
    """Return the prompt of an ask, cut so that the answer still fits into the job's context."""
    config = job.config
    return make_prompt(
        tokenizer, ask.text, ask.question, room=config.context - answer_room(job), keep=config.keep
    )


def fits(job: Job, prompt: Sequence[int], answer: Sequence[int]) -> bool:
    """Say whether an answer, its end included, fits behind a prompt into the job's context."""
    return len(prompt) + len(answer) <= job.config.context


def listed(labels: Sequence[str], chosen: Sequence[str]) -> str:
    """Write several labels as one answer, in the order of the job's labels."""
    return SEPARATOR.join(label for label in labels if label in chosen) or NONE
