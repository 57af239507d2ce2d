"""What a job takes from its examples before a model learns it: room for answers, and a first look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinsmith.jobs import answer, extract
from tinsmith.jobs.ask import NONE, SEPARATOR
from tinsmith.jobs.asks import asks_of, fits, listed, prompt_of
from tinsmith.jobs.look import fit_look
from tinsmith.jobs.prompt import answer_ids
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.spans import listed_spans
from tinsmith.jobs.spec import Job

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LONG_ENOUGH = 0.98  # share of spans that the room for an answer holds; more would take it from the passages


def prepare(
    job: Job, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> tuple[Job, dict[str, float]]:
    """Return the job with what its examples say, and statistics of what they do not teach.

    `answer_tokens` holds the longest answer, or nearly all spans, and is half the context at most.
    `answers_too_long_to_be_learnt` counts answers that do not fit behind their prompts. With several labels an answer
    has at most `most_labels`: one more than in any example, or as many as surely fit.
    `values_in_no_passage` counts values of an extraction that stand in no passage whole.
    """
    if job.config.several:
        job = _with_room_for_labels(job, rows, tokenizer)
    texts = [_answers(job, row, tokenizer) for row in rows]
    lengths = [[len(answer_ids(tokenizer, text)) for text in own] for own in texts]
    if not job.config.several:
        share = LONG_ENOUGH if job.config.kind in ("extract", "answer") else 1.0
        every = [length for own in lengths for length in own]
        longest = math.ceil(float(np.quantile(every, share, method="higher"))) if every else 1
        job = job.model_copy(update={"answer_tokens": min(longest, job.config.context // 2)})
    statistics: dict[str, float] = {}
    if job.config.kind == "answer":
        job = job.model_copy(update={"verbatim": not any(map(answer.needs_quote, rows))})
    if job.config.kind == "extract":
        looked = [extract.looked_at(job, row, tokenizer) for row in rows]
        names = [field.name for field in fields_of(job.config)]
        job = job.model_copy(update={"look": fit_look([one for one, _ in looked], names, seed)})
        statistics["values_in_no_passage"] = float(sum(len(nowhere) for _, nowhere in looked))
    if job.config.kind != "classify" or job.config.several:
        long = [
            row for row, own in zip(rows, lengths, strict=True) if max(own, default=0) > job.answer_tokens
        ]
        statistics["answers_too_long_to_be_learnt"] = float(_too_long(job, long, tokenizer))
    return job, statistics


def _with_room_for_labels(
    job: Job, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast
) -> Job:
    """Return a job with room for `most_labels`, whichever they are, so that no answer is cut within a label."""

    def room(most: int) -> int:
        longest = sorted(job.labels, key=lambda label: -len(answer_ids(tokenizer, label)))[:most]
        # In any order a label may take a token more than in this one.
        return len(answer_ids(tokenizer, SEPARATOR.join(longest))) + most

    wanted = min(len(job.labels), 1 + max((len(row["answer"]) for row in rows), default=0))
    half = job.config.context // 2
    most = next((count for count in range(wanted, 1, -1) if room(count) <= half), 1)
    return job.model_copy(update={"most_labels": most, "answer_tokens": min(room(most), half)})


def _too_long(job: Job, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast) -> int:
    """Count the asks whose answers are left out of learning (`write_answers`)."""
    return sum(
        ask.answer is not None
        and not fits(job, prompt_of(job, tokenizer, ask).ids, answer_ids(tokenizer, ask.answer))
        for row in rows
        for ask in asks_of(job, row, tokenizer)
    )


def _answers(job: Job, row: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Return the answers of a row as text, before its input is cut."""
    if job.config.kind == "extract":
        several = {field.name: field.several for field in fields_of(job.config)}
        return [
            listed_spans(spans if several.get(name) else spans[:1]) for name, spans in row["answer"].items()
        ] or [NONE]
    if job.config.kind == "classify":
        return [listed(job.labels, row["answer"])] if job.config.several else list(job.labels)
    return [ask.answer or "" for ask in asks_of(job, row, tokenizer)]
