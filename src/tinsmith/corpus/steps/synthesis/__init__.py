"""Textbook sections and questions with answers, written by a teacher from passages of training documents.

Nothing is taken on trust: each item names its passage, and passes checks in a fixed order, each of which is counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.base.completion import Answer, Ask, Failure, Request
from tinsmith.base.errors import LLMError
from tinsmith.base.files import write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.steps.result import StepInput, StepResult
from tinsmith.corpus.steps.synthesis import checks
from tinsmith.corpus.steps.synthesis.passages import Passage, choose_passages
from tinsmith.corpus.steps.synthesis.prompts import (
    Draft,
    answer_request,
    read_draft,
    support_request,
    write_request,
)
from tinsmith.corpus.text.repair import document_id
from tinsmith.recipe import SynthesisConfig

# The checks in their order; what an item does not pass is its verdict.
CHECKS = ("answered", "whole", "quoted", "answerable", "needs_passage", "new", "apart_from_held_out")
_SHOWN = 3


@dataclass
class Item:
    """A passage, what was answered, what the answer holds, and the first check that it does not pass."""

    passage: Passage
    answer: str = ""
    draft: Draft | None = None
    failed: str = ""

    @property
    def text(self) -> str:
        """Return the document that the item becomes."""
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
        documents, items=config.items, kinds=config.kinds, words=config.passage_words, seed=seed
    )
    items = [Item(passage) for passage in passages]
    _write_items(items, ask, seed, progress)
    _check_alone(items)
    _check_answers(items, ask, seed, progress)
    seen = checks.Seen()
    for item in _open(items):
        _settle(item, "new", seen.is_new(item.text))
    left = list(_open(items))
    near = checks.near_held_out((f"{item.text}\n{item.passage.text}" for item in left), given.held_out)
    for item, is_near in zip(left, near, strict=True):
        _settle(item, "apart_from_held_out", not is_near)
    kept = list(_open(items))
    steps = _steps(items)
    write_jsonl(out / "items.jsonl", map(_row, sorted(items, key=lambda item: bool(item.failed))))
    write_json(out / "steps.json", {"steps": steps, "spent": given.teacher.statistics()})
    if not kept:
        raise _nothing_usable(config, items, steps)
    path = out / "written.parquet"
    pq.write_table(pa.Table.from_pylist([_document(item, schema) for item in kept], schema), path)
    write_jsonl(out / "conversations.jsonl", (_conversation(item) for item in kept if _asks(item)))
    return StepResult({f"items_{name}": float(count) for name, count in steps.items()}, added=path)


def _open(items: list[Item]) -> Iterator[Item]:
    return (item for item in items if not item.failed)


def _settle(item: Item, check: str, passes: bool) -> None:
    if not passes:
        item.failed = check


def _asks(item: Item) -> bool:
    return item.passage.kind == "question"


def _write_items(items: list[Item], ask: Ask, seed: int, progress: Progress) -> None:
    requests = (write_request(item.passage.kind, item.passage.text, seed) for item in items)
    with progress.task("write items", len(items), "items") as advance:
        for item, outcome in zip(items, ask(requests), strict=True):
            _settle(item, "answered", isinstance(outcome, Answer))
            item.answer = (
                outcome.text if isinstance(outcome, Answer) else f"{outcome.reason}: {outcome.detail}"
            )
            advance(1)


def _check_alone(items: list[Item]) -> None:
    for item in _open(items):
        item.draft = read_draft(item.passage.kind, item.answer)
        _settle(item, "whole", item.draft is not None)
    for item in _open(items):
        assert item.draft is not None
        _settle(item, "quoted", checks.quotes(item.draft.quote, item.passage.text))


def _check_answers(items: list[Item], ask: Ask, seed: int, progress: Progress) -> None:
    """Ask the teacher itself, with the passage and without it: who wrote an item must be able to answer it."""
    left = list(_open(items))
    with progress.task("check items", len(left), "items") as advance:
        for item, outcome in zip(left, ask(_with_passage(item, seed) for item in left), strict=True):
            _settle(item, "answerable", _passes(item, outcome))
            advance(1)
    asked = [item for item in _open(items) if _asks(item)]
    requests = (answer_request(item.draft.heading, "", seed) for item in asked if item.draft)
    for item, outcome in zip(asked, ask(requests), strict=True):
        # A question that was not asked any more is not known to need its passage.
        _settle(item, "needs_passage", isinstance(outcome, Answer) and not _passes(item, outcome))


def _with_passage(item: Item, seed: int) -> Request:
    assert item.draft is not None
    if _asks(item):
        return answer_request(item.draft.heading, item.passage.text, seed)
    return support_request(item.draft.body, item.passage.text, seed)


def _passes(item: Item, outcome: Answer | Failure) -> bool:
    if isinstance(outcome, Failure) or item.draft is None:
        return False
    return checks.agrees(outcome.text, item.draft.body) if _asks(item) else checks.says_yes(outcome.text)


def _steps(items: list[Item]) -> dict[str, int]:
    """Return how many items there were, and how many were left after each check."""
    left = len(items)
    steps = {"asked": left}
    for check in CHECKS:
        left -= sum(item.failed == check for item in items)
        steps[check] = left
    return steps


def _row(item: Item) -> dict[str, Any]:
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


def _document(item: Item, schema: pa.Schema) -> dict[str, str]:
    passage = item.passage
    meta = {"written_from": passage.doc_id, "start": passage.start, "kind": passage.kind}
    row = {
        "doc_id": document_id(item.text),
        "text": item.text,
        "source": f"{passage.source}#written-{passage.number}",
        "mime": "text/markdown",
        "meta": json.dumps(meta),
        **{name: getattr(passage, name) for name in ("sha256", "licence", "access", "language", "cluster")},
    }
    return {name: row[name] for name in schema.names}


def _conversation(item: Item) -> dict[str, Any]:
    assert item.draft is not None
    said = [
        {"role": "user", "content": item.draft.heading},
        {"role": "assistant", "content": item.draft.body},
    ]
    return {"messages": said, "doc_id": document_id(item.text), "written_from": item.passage.doc_id}


def _nothing_usable(config: SynthesisConfig, items: list[Item], steps: dict[str, int]) -> LLMError:
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in steps.items())
    shown = "; ".join(f"{item.answer[:120]!r} (not {item.failed})" for item in items[:_SHOWN])
    return LLMError(
        f"{config.teacher.model} wrote nothing usable ({counts}); for example {shown}",
        where="refine.synthesis.teacher",
        next_step="take a stronger teacher, raise its max_minutes, or set refine.synthesis.items = 0; "
        "every answer stands in items.jsonl",
    )
