"""Questions of a job in words, for systems behind an API: the input, the question, and what an answer is.

Their answers are read by `Grader.read`, as recorded ones are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tinsmith.base.completion import BYTES_PER_CHARACTER, Request
from tinsmith.base.files import JsonObject
from tinsmith.jobs.schema import Field, fields_of, read_schema
from tinsmith.jobs.spec import Job, answer_room
from tinsmith.recipe import JobConfig

SYSTEM = "You do one job on texts. Give the answer alone, without explaining it."
_CHARACTERS_A_TOKEN = 8  # of an input, so that a system reads at least what our model reads
_LONGEST = 200_000  # characters of an input whose fields are extracted
_BYTES_BESIDE = 20_000  # of a request beside its input, and beside what the recipe adds, at most
_TOKENS_A_FIELD = 16  # beside the value


def job_request(job: Job, row: JsonObject, *, max_tokens: int, documents: Sequence[str] = ()) -> Request:
    """Return the question about a row. An input that is far longer than the job's context is cut as the job says."""
    config = job.config
    parts = [_cut(config, row["input"])]
    if config.kind != "extract":
        parts.append(job.question(row.get("record", {})).strip())
    parts.append(_how(job))
    return Request(
        "\n\n".join(parts),
        SYSTEM,
        max(max_tokens, _answer_tokens(job)),
        schema=_fields_schema(fields_of(config)) if config.kind == "extract" else None,
        documents=tuple(documents),
    )


def most_bytes(config: JobConfig) -> int:
    """Return the bytes of a request about a row of a job, at most; the caller sends none of more."""
    added = [*config.labels, config.asked]
    added += [json.dumps(read_schema(config))] if config.json_schema else []
    beside = sum(len(text.encode()) for text in added) + _BYTES_BESIDE
    return BYTES_PER_CHARACTER * _characters(config) + beside


def most_sent(job_items: int, jobs: Sequence[JobConfig]) -> tuple[int, int]:
    """Return the most documents, and the most bytes of requests, that an endpoint receives about jobs."""
    return job_items * len(jobs), job_items * sum(map(most_bytes, jobs))


def _characters(config: JobConfig) -> int:
    return _LONGEST if config.kind == "extract" else _CHARACTERS_A_TOKEN * config.context


def _cut(config: JobConfig, text: str) -> str:
    text, most = text.strip(), _characters(config)
    return text if len(text) <= most else text[:most] if config.keep == "start" else text[-most:]


def _how(job: Job) -> str:
    """Return what an answer has to be."""
    config = job.config
    if config.kind == "extract":
        listed = "\n".join(f"- {field.name}: {field.question.rstrip(':')}" for field in fields_of(config))
        return (
            "Answer with a JSON object of these fields. Each is a list of spans of the text, copied word for word; "
            f"the list is empty where the text holds none.\n{listed}"
        )
    if config.kind == "answer":
        return (
            "Answer with words of the text alone, as few as you can. "
            "Where the text does not say it, answer: not in the text"
        )
    if config.kind == "write":
        if not config.json_schema:
            return "Write the text alone."
        return f"Answer with a JSON object of this schema alone:\n{json.dumps(read_schema(config))}"
    listed = "\n".join(f"- {label}" for label in job.labels)
    if config.several:
        return f"Answer with those of these that hold, separated by semicolons, or with: none\n{listed}"
    return f"Answer with one of these alone:\n{listed}"


def _answer_tokens(job: Job) -> int:
    """Return the tokens that an answer needs: twice what the longest example takes in our tokenizer."""
    asked = len(fields_of(job.config)) if job.config.kind == "extract" else 1
    return asked * (2 * answer_room(job) + _TOKENS_A_FIELD)


def _fields_schema(fields: Sequence[Field]) -> dict[str, Any]:
    """Return the JSON schema of an extraction's answer, for endpoints that hold answers to one."""
    spans = {"type": "array", "items": {"type": "string"}}
    return {
        "type": "object",
        "properties": {field.name: spans for field in fields},
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }
