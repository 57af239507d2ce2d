"""Have a teacher write textbook sections and questions with answers from passages of training documents.

Each item names its passage and must pass a fixed sequence of checks, which are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.base.completion import Answer, Ask, Failure, Request
from tinsmith.base.errors import LLMError
from tinsmith.base.files import write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.steps import WRITTEN_CONVERSATIONS, WRITTEN_FROM
from tinsmith.corpus.steps.result import StepInput, StepResult
from tinsmith.corpus.steps.synthesis import checks
from tinsmith.corpus.steps.synthesis.passages import SourcePassage, choose_passages
from tinsmith.corpus.steps.synthesis.prompts import (
    Draft,
    answer_request,
    read_draft,
    support_request,
    write_request,
)
from tinsmith.corpus.text.repair import document_id
from tinsmith.recipe import SynthesisConfig

# The checks in their order; the first one that an item fails is its verdict.
CHECKS = ("answered", "whole", "quoted", "answerable", "needs_passage", "new", "apart_from_held_out")
_SHOWN = 3


@dataclass
class SynthesisItem:
    """A passage, the teacher's answer, the draft read from it, and the first check that it fails."""

    passage: SourcePassage
    answer: str = ""
    draft: Draft | None = None
    failed: str = ""

    @property
    def text(self) -> str:
        """Return the text of the new document."""
        if self.draft is None:
            return ""
        mark = "# " if self.passage.kind == "textbook" else ""
        return f"{mark}{self.draft.heading}\n\n{self.draft.body}"


def run(config: SynthesisConfig, given: StepInput) -> StepResult:
    """Have items written and checked; write `items.jsonl`, `steps.json`, `written.parquet`, `conversations.jsonl`.

    The new documents have the columns of the training documents, without `part`. Licence, access label and cluster
    are those of the document that an item is written from; its meta names that document. Raises LLMError if no item
    passes.
    """
    if given.teacher is None:
        raise ValueError("synthesis needs a teacher")
    documents, out, seed, progress = given.documents, given.out, given.seed, given.progress
    ask = given.teacher.ask
    schema = pa.schema([(name, pa.string()) for name in documents.column_names if name != "part"])
    out.mkdir(parents=True, exist_ok=True)
    passages = choose_passages(
        given.shown, items=config.items, kinds=config.kinds, words=config.passage_words, seed=seed
    )
    items = [SynthesisItem(passage) for passage in passages]
    _write_items(items, ask, seed, progress)
    _check_alone(items)
    _check_answers(items, ask, seed, progress)
    seen = checks.SeenItems()
    for item in _passing(items):
        _check(item, "new", seen.is_new(item.text))
    left = list(_passing(items))
    near = checks.near_held_out((f"{item.text}\n{item.passage.text}" for item in left), given.held_out)
    for item, is_near in zip(left, near, strict=True):
        _check(item, "apart_from_held_out", not is_near)
    kept = list(_passing(items))
    steps = _steps(items)
    write_jsonl(out / "items.jsonl", map(_row, sorted(items, key=lambda item: bool(item.failed))))
    write_json(out / "steps.json", {"steps": steps, "spent": given.teacher.statistics()})
    if not kept:
        raise _nothing_usable(config, items, steps)
    path = out / "written.parquet"
    pq.write_table(pa.Table.from_pylist([_document(item, schema) for item in kept], schema), path)
    write_jsonl(
        out.parent / WRITTEN_CONVERSATIONS, (_conversation(item) for item in kept if _is_question(item))
    )
    return StepResult({f"items_{name}": float(count) for name, count in steps.items()}, added=path)


def _passing(items: list[SynthesisItem]) -> Iterator[SynthesisItem]:
    return (item for item in items if not item.failed)


def _check(item: SynthesisItem, check: str, passes: bool) -> None:
    if not passes:
        item.failed = check


def _is_question(item: SynthesisItem) -> bool:
    return item.passage.kind == "question"


def _write_items(items: list[SynthesisItem], ask: Ask, seed: int, progress: Progress) -> None:
    requests = (_of(item, write_request(item.passage.kind, item.passage.text, seed)) for item in items)
    with progress.task("write items", len(items), "items") as advance:
        for item, outcome in zip(items, ask(requests), strict=True):
            _check(item, "answered", isinstance(outcome, Answer))
            item.answer = (
                outcome.text if isinstance(outcome, Answer) else f"{outcome.reason}: {outcome.detail}"
            )
            advance(1)


def _check_alone(items: list[SynthesisItem]) -> None:
    for item in _passing(items):
        item.draft = read_draft(item.passage.kind, item.answer)
        _check(item, "whole", item.draft is not None)
    for item in _passing(items):
        assert item.draft is not None
        _check(item, "quoted", checks.quotes(item.draft.quote, item.passage.text))


def _check_answers(items: list[SynthesisItem], ask: Ask, seed: int, progress: Progress) -> None:
    """Ask the teacher about its own items, with the passage and without it."""
    left = list(_passing(items))
    with progress.task("check items", len(left), "items") as advance:
        for item, outcome in zip(left, ask(_with_passage(item, seed) for item in left), strict=True):
            _check(item, "answerable", _passes(item, outcome))
            advance(1)
    questions = [item for item in _passing(items) if _is_question(item)]
    requests = (_of(item, answer_request(item.draft.heading, "", seed)) for item in questions if item.draft)
    for item, outcome in zip(questions, ask(requests), strict=True):
        # Without an answer, nothing shows that the question needs its passage.
        _check(item, "needs_passage", isinstance(outcome, Answer) and not _passes(item, outcome))


def _with_passage(item: SynthesisItem, seed: int) -> Request:
    assert item.draft is not None
    if _is_question(item):
        return _of(item, answer_request(item.draft.heading, item.passage.text, seed))
    return _of(item, support_request(item.draft.body, item.passage.text, seed))


def _of(item: SynthesisItem, request: Request) -> Request:
    """Name the document in a request: what the teacher wrote from it is its text too."""
    return replace(request, documents=(item.passage.doc_id,))


def _passes(item: SynthesisItem, outcome: Answer | Failure) -> bool:
    if isinstance(outcome, Failure) or item.draft is None:
        return False
    return (
        checks.agrees(outcome.text, item.draft.body) if _is_question(item) else checks.says_yes(outcome.text)
    )


def _steps(items: list[SynthesisItem]) -> dict[str, int]:
    """Return the number of items requested, and left after each check."""
    left = len(items)
    steps = {"asked": left}
    for check in CHECKS:
        left -= sum(item.failed == check for item in items)
        steps[check] = left
    return steps


def _row(item: SynthesisItem) -> dict[str, Any]:
    passage = item.passage
    draft = item.draft._asdict() if item.draft else {"heading": "", "body": "", "quote": ""}
    return {
        "kind": passage.kind,
        "verdict": f"not {item.failed}" if item.failed else "kept",
        "doc_id": passage.doc_id,
        "source": passage.source,
        "start": passage.start,
        "passage": passage.text,
        **draft,
        "answer": "" if item.draft else item.answer[:1000],
        "written": "" if item.failed else document_id(item.text),
    }


def _document(item: SynthesisItem, schema: pa.Schema) -> dict[str, str]:
    passage = item.passage
    meta = {WRITTEN_FROM: passage.doc_id, "start": passage.start, "kind": passage.kind}
    row = {
        "doc_id": document_id(item.text),
        "text": item.text,
        "source": f"{passage.source}#written-{passage.number}",
        "mime": "text/markdown",
        "meta": json.dumps(meta),
        **{name: getattr(passage, name) for name in ("sha256", "licence", "access", "language", "cluster")},
    }
    return {name: row[name] for name in schema.names}


def _conversation(item: SynthesisItem) -> dict[str, Any]:
    assert item.draft is not None
    messages = [
        {"role": "user", "content": item.draft.heading},
        {"role": "assistant", "content": item.draft.body},
    ]
    return {"messages": messages, "doc_id": document_id(item.text), WRITTEN_FROM: item.passage.doc_id}


def _nothing_usable(config: SynthesisConfig, items: list[SynthesisItem], steps: dict[str, int]) -> LLMError:
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in steps.items())
    shown = "; ".join(f"{item.answer[:120]!r} (not {item.failed})" for item in items[:_SHOWN])
    return LLMError(
        f"{config.teacher.model} wrote nothing usable ({counts}); for example {shown}",
        where="refine.synthesis.teacher",
        next_step="use a stronger teacher, raise its max_minutes, or set refine.synthesis.items = 0; "
        "items.jsonl has every answer",
    )
