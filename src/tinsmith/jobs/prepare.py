"""What a job takes from its examples before a model learns it: room for answers, and a first look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinsmith.jobs import answer, extract
from tinsmith.jobs.ask import NONE, SEPARATOR
from tinsmith.jobs.asks import asks_of
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

    `answer_tokens` holds the longest answer, or nearly all spans, and is half the context at most. Longer ones are
    counted in `answers_too_long`.
    `values_in_no_passage` counts values of an extraction that stand in no passage whole.
    """
    lengths = [len(answer_ids(tokenizer, text)) for row in rows for text in _answers(job, row, tokenizer)]
    share = LONG_ENOUGH if job.config.kind in ("extract", "answer") else 1.0
    longest = math.ceil(float(np.quantile(lengths, share, method="higher"))) if lengths else 1
    limit = min(longest, job.config.context // 2)
    job = job.model_copy(update={"answer_tokens": limit})
    statistics = {"answers_too_long": float(sum(length > limit for length in lengths))}
    if job.config.kind == "answer":
        verbatim = not any(map(answer.needs_quote, rows))
        return job.model_copy(update={"verbatim": verbatim}), statistics
    if job.config.kind != "extract":
        return job, statistics
    looked = [extract.looked_at(job, row, tokenizer) for row in rows]
    names = [field.name for field in fields_of(job.config)]
    look = fit_look([one for one, _ in looked], names, seed)
    statistics["values_in_no_passage"] = float(sum(len(nowhere) for _, nowhere in looked))
    return job.model_copy(update={"look": look}), statistics


def _answers(job: Job, row: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Return the answers of a row as text, before its input is cut."""
    if job.config.kind == "extract":
        several = {field.name: field.several for field in fields_of(job.config)}
        return [
            listed_spans(spans if several.get(name) else spans[:1]) for name, spans in row["answer"].items()
        ] or [NONE]
    if job.config.kind == "classify":
        return [SEPARATOR.join(job.labels)] if job.config.several else list(job.labels)
    return [ask.answer or "" for ask in asks_of(job, row, tokenizer)]
