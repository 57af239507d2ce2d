"""Measure one subject on the chosen documents and items, or take what an earlier attempt has measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from tinsmith.base.files import read_json, read_jsonl, sha256_json, write_json, write_jsonl
from tinsmith.base.progress import Advance, Progress
from tinsmith.evaluate.audits import FIGURES, Audit
from tinsmith.evaluate.families.bits import Document, TextScore
from tinsmith.evaluate.families.multiple_choice import ItemScore, shots_prefix
from tinsmith.evaluate.items import BASE, OURS, Item, Measured
from tinsmith.evaluate.models import Precision, Subject, opened
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evaluate.scoring.tree import Tree


@dataclass(frozen=True)
class Work:
    """What every subject is measured on. `shots` holds the examples by task and count."""

    documents: tuple[Document, ...]
    window: int
    exams: dict[str, list[Item]] = field(default_factory=dict)
    shots: dict[tuple[str, int], list[Item]] = field(default_factory=dict)
    audits: tuple[Audit, ...] = ()
    precision: Precision = "float32"

    def fingerprint(self, subject: Subject) -> str:
        """Hash all that a subject's items depend on; weights, tokenizer and settings by their files' size and time."""
        files = [subject.path] if subject.gguf else sorted(filter(Path.is_file, subject.path.iterdir()))
        parts = {
            "documents": [(document.doc_id, document.text, document.overlap) for document in self.documents],
            "window": self.window,
            "precision": self.precision,
            "exams": {task: [repr(item) for item in items] for task, items in self.exams.items()},
            "shots": [
                (task, count, [repr(item) for item in items]) for (task, count), items in self.shots.items()
            ],
            "audits": [(audit.kind, audit.about) for audit in self.audits],
            "files": [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files],
        }
        return sha256_json(parts)


def measure(
    subject: Subject, tokenizer: PreTrainedTokenizerFast, work: Work, *, items: Path, progress: Progress
) -> Measured:
    """Score a subject; store `bits-`, `exam-`, `AUDIT-SUBJECT.jsonl` and last `about-SUBJECT.json` in `items`.

    Audits are asked of our model and its base alone. Where the last file is there with the same fingerprint nothing
    is scored again.
    """
    name = subject.subject
    bits, exam, about = (items / f"{kind}-{name}.jsonl" for kind in ("bits", "exam", "about"))
    about = about.with_suffix(".json")
    fingerprint = work.fingerprint(subject)
    audits = work.audits if name in (OURS, BASE) else ()
    if about.exists() and read_json(about)["fingerprint"] == fingerprint:
        progress.say(f"  {name}: scored before")
        stored = {audit.kind: list(read_jsonl(_file(items, audit, name))) for audit in audits}
        return Measured(list(read_jsonl(bits)), list(read_jsonl(exam)), read_json(about), audits=stored)
    started = time.monotonic()
    found: dict[str, list[dict[str, Any]]] = {}
    with opened(subject, work.precision) as scorer:
        bit_rows, exam_rows = score_work(scorer, tokenizer, work, progress=progress, label=name)
        for audit in audits:
            with progress.task(f"{name}: {audit.kind}", audit.size, "items") as advance:
                found[audit.kind] = audit.ask(scorer, tokenizer, advance)
        facts: dict[str, Any] = {
            "tokens": scorer.tokens,
            "forwards": scorer.forwards,
            "branches": scorer.branches,
            "precision": work.precision,
        }
    write_jsonl(bits, bit_rows)
    write_jsonl(exam, exam_rows)
    for kind in FIGURES:
        (items / f"{kind}-{name}.jsonl").unlink(missing_ok=True)
    for audit in audits:
        write_jsonl(_file(items, audit, name), found[audit.kind])
    facts = {"fingerprint": fingerprint, "seconds": round(time.monotonic() - started, 2), **facts}
    write_json(about, facts)
    return Measured(bit_rows, exam_rows, facts, audits=found)


def _file(items: Path, audit: Audit, subject: str) -> Path:
    return items / f"{audit.kind}-{subject}.jsonl"


def drop_others(items: Path, subjects: Sequence[str]) -> None:
    """Remove what an earlier attempt stored in `items` of all but these subjects."""
    for kind in ("about", "bits", "exam", "general", *FIGURES):
        for file in items.glob(f"{kind}-*.json*"):
            if file.stem.removeprefix(f"{kind}-") not in subjects:
                file.unlink()


def score_work(
    scorer: Scorer, tokenizer: PreTrainedTokenizerFast, work: Work, *, progress: Progress, label: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows of bits and exam. A zero-shot item rides on its document's window where that is scored."""
    texts = [TextScore(document, tokenizer, work.window) for document in work.documents]
    first_windows = {text.document.doc_id: text.trees[0] for text in texts}
    plain = [item for task, count in work.shots if count == 0 for item in work.exams[task]]
    asked = [ItemScore(item, tokenizer, short=False, tree=first_windows.get(item.doc_id)) for item in plain]
    trees = _distinct([*(tree for text in texts for tree in text.trees), *(score.tree for score in asked)])
    few = [(task, count) for task, count in work.shots if count > 0]
    short = {key: [ItemScore(item, tokenizer, short=True) for item in work.exams[key[0]]] for key in few}
    total = sum(map(len, trees)) + sum(len(score.tree) for scores in short.values() for score in scores)
    with progress.task(f"{label}: bits and exam", total, "tokens") as advance:
        found = dict(zip(map(id, trees), scorer.score(trees, advance=advance), strict=True))
        bits = [text.row([found[id(tree)] for tree in text.trees]) for text in texts]
        exam = [score.row(found[id(score.tree)], 0) for score in asked]
        for task, count in few:
            prefix = shots_prefix(tokenizer, work.shots[task, count])
            exam += _few_shot_rows(scorer, short[task, count], prefix, count, advance)
    return bits, exam


def _few_shot_rows(
    scorer: Scorer, scores: Sequence[ItemScore], prefix: Sequence[int], count: int, advance: Advance
) -> list[dict[str, Any]]:
    found = scorer.score([score.tree for score in scores], prefix=prefix, advance=advance)
    return [score.row(values, count) for score, values in zip(scores, found, strict=True)]


def _distinct(trees: Sequence[Tree]) -> list[Tree]:
    return list({id(tree): tree for tree in trees}.values())
