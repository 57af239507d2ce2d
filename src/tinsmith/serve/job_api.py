"""Jobs over HTTP: what a request asks a job, and how an answer is written, plainly or as JSON of a schema."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from tinsmith.base.files import JsonObject
from tinsmith.jobs.rendering import NoExample, Rendering
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.spec import Job, read_job
from tinsmith.serve.job_model import JobAnswer, JobModel, find_jobs
from tinsmith.serve.requests import BadRequest, ChatRequest
from tinsmith.serve.runtime import find_gguf
from tinsmith.tokens.templates import name_in_template


class Jobs:
    """The jobs of a bundle. A job's model is loaded when it is first asked, and stays until `close`."""

    def __init__(self, bundle: Path, format: str | None = None) -> None:
        self.directories = find_jobs(bundle) if bundle.is_dir() else {}
        self.format = format
        self.specs = {name: read_job(directory) for name, directory in self.directories.items()}
        self.bytes = {name: find_gguf(path, format).stat().st_size for name, path in self.directories.items()}
        self._models: dict[str, JobModel] = {}
        self._open, self._lock = ExitStack(), threading.Lock()

    def close(self) -> None:
        """Stop the servers of all jobs."""
        self._open.close()

    def describe(self) -> list[JsonObject]:
        """Return what each job is and what it reads."""
        return [
            {
                "name": name,
                "kind": job.config.kind,
                "question": job.config.asked,
                "input": _names(Rendering(job.config)),
                "labels": list(job.labels),
            }
            for name, job in self.specs.items()
        ]

    def answer(self, name: str, given: Sequence[Any]) -> list[JsonObject]:
        """Answer inputs, each an object of fields or, where the job reads a single one, its text. Raises BadRequest."""
        rendering = Rendering(self.specs[name].config)
        rows, reasons = [], {}
        for place, each in enumerate(given):
            record = _record(rendering, each)
            try:
                rows.append(rendering.asked(record))
            except NoExample as found:
                reasons[place] = found.detail or found.reason
        answers = iter(self._model(name).answer(rows) if rows else ())
        return [
            _written(JobAnswer(None, None, True, reasons[place]) if place in reasons else next(answers))
            for place in range(len(given))
        ]

    def _model(self, name: str) -> JobModel:
        with self._lock:
            if name not in self._models:
                model = JobModel(self.directories[name], self.format)
                self._models[name] = self._open.enter_context(model)
            return self._models[name]


def asked_of(body: Mapping[str, Any]) -> tuple[list[Any], bool]:
    """Return the inputs of a request, and whether they came as a list. Raises BadRequest."""
    if ("input" in body) == ("inputs" in body):
        raise BadRequest('send {"input": {...}} or {"inputs": [...]}')
    if "input" in body:
        return [body["input"]], False
    if not isinstance(body["inputs"], list):
        raise BadRequest("`inputs` is a list")
    return body["inputs"], True


def asked_in_chat(asked: ChatRequest) -> Any:
    """Return the input in a chat: the last message of the user, its text or an object of fields as JSON.

    A job gives its likeliest answer, whole, so settings of sampling change nothing. Raises BadRequest.
    """
    if asked.stream:
        raise BadRequest("a job answers whole; leave out `stream`", "stream")
    for name in ("n", "stop", "logprobs", "logit_bias", "ignore_eos"):
        if getattr(asked, name) != ChatRequest.model_fields[name].get_default(call_default_factory=True):
            raise BadRequest(f"a job does not do `{name}`; leave it out", name)
    spoken = [message.content for message in asked.talk if message.role == "user"]
    if not spoken:
        raise BadRequest("send `messages` with a message of the user", "messages")
    try:
        value = from_json(spoken[-1])
    except ValueError:
        return spoken[-1]
    return value if isinstance(value, dict) else spoken[-1]


def completion(job: Job, answer: JsonObject, schema: JsonObject | None) -> JsonObject:
    """Return an answer as a chat completion, as JSON of a schema if there is one.

    An answer that is withheld comes as a refusal. Raises BadRequest.
    """
    content: str | None = None
    if answer["answer"] is not None or not answer["withheld"]:
        value = answer["answer"]
        if schema is not None:
            value = _of_schema(job, value, schema)
        elif job.config.kind == "answer":
            value = value["answer"] if value else "not in the text"
        content = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    message = {"role": "assistant", "content": content, "refusal": answer["withheld"] or None}
    return {
        "object": "chat.completion",
        "model": job.config.name,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "job": answer,
    }


def _of_schema(job: Job, value: Any, schema: JsonObject) -> JsonObject:
    """Return an answer as the object that a schema asks for, of what the job answers."""
    config = job.config
    if config.kind == "write" and config.json_schema:
        found = json.loads(value)
    elif config.kind == "extract":
        several = {field.name: field.several for field in fields_of(config)}
        found = {name: spans if several[name] else next(iter(spans), None) for name, spans in value.items()}
    elif config.kind == "answer":
        found = value or {"answer": None, "quote": None}
    else:
        found = {config.name: value}
    wanted = schema.get("properties")
    if not isinstance(wanted, dict) or not wanted:
        return dict(found)
    if len(wanted) == len(found) == 1:
        found = dict(zip(wanted, found.values()))
    if missing := wanted.keys() - found.keys():
        raise BadRequest(
            f"the job {config.name} does not answer {min(missing)!r}; it answers {', '.join(found)}"
        )
    for name, part in wanted.items():
        choices = part.get("enum") if isinstance(part, dict) else None
        if isinstance(choices, list) and any(label not in choices for label in job.labels):
            raise BadRequest(
                f"the schema's `enum` of {name!r} lacks labels of the job: {', '.join(job.labels)}"
            )
    return {name: found[name] for name in wanted}


def _names(rendering: Rendering) -> list[str]:
    return list(dict.fromkeys([*rendering.fields["input"], *rendering.fields["question"]]))


def _record(rendering: Rendering, given: Any) -> JsonObject:
    names = _names(rendering)
    if isinstance(given, dict):
        there = set(map(name_in_template, given))
        if missing := [name for name in names if name not in there]:
            raise BadRequest(
                f"the input lacks {', '.join(missing)}; send a field without a value as an empty text"
            )
        return given
    if isinstance(given, str) and len(names) == 1:
        return {names[0]: given}
    what = f"an object with {', '.join(names)}" if len(names) > 1 else f"a text, or an object with {names[0]}"
    raise BadRequest(f"an input of this job is {what}")


def _written(answer: JobAnswer) -> JsonObject:
    """Return an answer as a JSON object; what does not apply is left out."""
    found: JsonObject = {"answer": answer.answer}
    if answer.confidence is not None:
        found["confidence"] = answer.confidence
    found |= {"ask_a_person": answer.ask_a_person, "withheld": answer.withheld}
    more: JsonObject = {
        "probabilities": answer.probabilities,
        "fields": {name: [value.as_dict() for value in values] for name, values in answer.fields.items()},
        "tokens_left_out": answer.left_out,
        "notes": list(answer.notes),
    }
    return found | {name: value for name, value in more.items() if value}
