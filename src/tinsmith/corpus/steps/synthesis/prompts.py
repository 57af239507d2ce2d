"""The requests to the teacher, and the parser of its answers."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from tinsmith.base.completion import Request
from tinsmith.corpus.steps.teachers import MAX_TOKENS

_SYSTEM = (
    "You write teaching material from one passage of a document. Use the terms of the passage, and no facts that it "
    "does not contain. Answer with one JSON object and nothing else."
)
_TASKS = {
    "question": (
        "Write one question that a reader of this passage can answer, and its answer.\n"
        '{"question": "...", "answer": "...", "quote": "words of the passage, unchanged, that support the answer"}'
    ),
    "textbook": (
        "Write a section of a textbook, one to three paragraphs, that explains what this passage says.\n"
        '{"title": "...", "text": "...", "quote": "the most important words of the passage, unchanged"}'
    ),
}
_FIELDS = {"question": ("question", "answer", "quote"), "textbook": ("title", "text", "quote")}
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class Draft(NamedTuple):
    """What a teacher wrote: a question and its answer, or a title and a section; and the quote that supports it."""

    heading: str
    body: str
    quote: str


def write_request(kind: str, passage: str, seed: int) -> Request:
    """Return the request for an item of a kind."""
    prompt = f"Passage:\n\n{passage}\n\n{_TASKS[kind]}"
    fields = _FIELDS[kind]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in fields},
        "required": list(fields),
        "additionalProperties": False,
    }
    return Request(prompt, _SYSTEM, MAX_TOKENS[kind], 0.0, seed, schema)


def read_draft(kind: str, answer: str) -> Draft | None:
    """Parse an answer; return None unless it is a JSON object with every field filled."""
    found = _OBJECT.search(answer)
    try:
        value: Any = json.loads(found[0]) if found else None
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    fields = [value.get(name) for name in _FIELDS[kind]]
    if not all(isinstance(each, str) and each.strip() for each in fields):
        return None
    return Draft(*(str(each).strip() for each in fields))


def answer_request(question: str, passage: str, seed: int) -> Request:
    """Return the request to answer a question, from a passage or without one if it is empty."""
    if passage:
        prompt = (
            f"Passage:\n\n{passage}\n\nQuestion: {question}\nAnswer from the passage alone, as briefly as possible. "
            "Write UNKNOWN if the passage does not say."
        )
    else:
        prompt = f"Question: {question}\nAnswer as briefly as possible. Write UNKNOWN if you do not know."
    return Request(prompt, "", 120, 0.0, seed)


def support_request(text: str, passage: str, seed: int) -> Request:
    """Return the request to say whether a passage supports a section."""
    prompt = (
        f"Passage:\n\n{passage}\n\nText:\n\n{text}\n\nDoes the passage support every statement of the text? "
        "Answer yes or no."
    )
    return Request(prompt, "", 8, 0.0, seed)
