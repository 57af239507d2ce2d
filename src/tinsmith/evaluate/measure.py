"""Measure one subject on the chosen documents and items, or take what an earlier attempt has measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from tinsmith.evaluate.bits import Document, TextScore
from tinsmith.evaluate.canaries import score_canaries
from tinsmith.evaluate.exam import ItemScore, shots_prefix
from tinsmith.evaluate.items import BASE, OURS, Item, Measured
from tinsmith.evaluate.passages import Passage, leakage_row, read_passage
from tinsmith.evaluate.rivals import Subject, opened
from tinsmith.evaluate.score import Advance, Scorer, Tree
from tinsmith.foundation.files import read_json, read_jsonl, sha256_json, write_json, write_jsonl
from tinsmith.foundation.progress import Progress
from tinsmith.tokens.canaries import Canary


@dataclass(frozen=True)
class Work:
    """What every subject is measured on. `shots` holds the examples by task and count."""

    documents: tuple[Document, ...]
    window: int
    exams: dict[str, list[Item]] = field(default_factory=dict)
    shots: dict[tuple[str, int], list[Item]] = field(default_factory=dict)
    passages: tuple[Passage, ...] = ()
    canaries: tuple[tuple[Canary, int], ...] = ()  # each with how often it was seen in training
    seed: int = 0  # of the secrets that canaries are ranked among

    def fingerprint(self, subject: Subject) -> str:
        """Hash all that a subject's items depend on; weights, tokenizer and settings by their files' size and time."""
        files = [subject.path] if subject.gguf else sorted(filter(Path.is_file, subject.path.iterdir()))
        parts = {
            "documents": [(document.doc_id, document.text, document.overlap) for document in self.documents],
            "window": self.window,
            "exams": {task: [repr(item) for item in items] for task, items in self.exams.items()},
            "shots": [
                (task, count, [repr(item) for item in items]) for (task, count), items in self.shots.items()
            ],
            "passages": [repr(passage) for passage in self.passages],
            "canaries": [repr(canary) for canary in self.canaries],
            "seed": self.seed,
            "files": [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files],
        }
        return sha256_json(parts)


def measure(
    subject: Subject, tokenizer: PreTrainedTokenizerFast, work: Work, *, items: Path, progress: Progress
) -> Measured:
    """Score a subject; store `bits-`, `exam-`, `leakage-SUBJECT.jsonl` and last `about-SUBJECT.json` in `items`.

    Passages are read by our model and its base alone.

    Where the last is there with the same fingerprint nothing is scored again.
    """
    kinds = ("bits", "exam", "leakage", "canaries")
    bits, exam, leakage, planted = (items / f"{kind}-{subject.subject}.jsonl" for kind in kinds)
    about = items / f"about-{subject.subject}.json"
    fingerprint = work.fingerprint(subject)
    if about.exists() and read_json(about)["fingerprint"] == fingerprint:
        progress.say(f"  {subject.subject}: scored before")
        leaks, canaries = (list(read_jsonl(path)) if path.exists() else [] for path in (leakage, planted))
        found = Measured(list(read_jsonl(bits)), list(read_jsonl(exam)), read_json(about), leaks)
        return replace(found, canaries=canaries)
    started = time.monotonic()
    with opened(subject) as scorer:
        bit_rows, exam_rows = score_work(scorer, tokenizer, work, progress=progress, label=subject.subject)
        leaks, canaries = [], []
        if subject.subject in (OURS, BASE):
            leaks = read_passages(scorer, tokenizer, work.passages, progress=progress, label=subject.subject)
            canaries = rank_canaries(scorer, tokenizer, work, progress=progress, label=subject.subject)
        facts: dict[str, Any] = {
            "tokens": scorer.tokens,
            "forwards": scorer.forwards,
            "branches": scorer.branches,
        }
    write_jsonl(bits, bit_rows)
    write_jsonl(exam, exam_rows)
    for path, rows in ((leakage, leaks), (planted, canaries)):
        path.unlink(missing_ok=True)
        if rows:
            write_jsonl(path, rows)
    facts = {"fingerprint": fingerprint, "seconds": round(time.monotonic() - started, 2), **facts}
    write_json(about, facts)
    return Measured(bit_rows, exam_rows, facts, leaks, canaries=canaries)


def drop_others(items: Path, subjects: Sequence[str]) -> None:
    """Remove what an earlier attempt stored in `items` of all but these subjects."""
    for kind in ("about", "bits", "exam", "leakage", "canaries", "general"):
        for file in items.glob(f"{kind}-*.json*"):
            if file.stem.removeprefix(f"{kind}-") not in subjects:
                file.unlink()


def read_passages(
    scorer: Scorer,
    tokenizer: PreTrainedTokenizerFast,
    passages: Sequence[Passage],
    *,
    progress: Progress,
    label: str,
) -> list[dict[str, Any]]:
    """Return a row for each passage: how likely it is, and whether its second half is said word for word."""
    if not passages:
        return []
    sequences = [read_passage(passage, tokenizer) for passage in passages]
    with progress.task(f"{label}: leakage", sum(map(len, sequences)), "tokens") as advance:
        found = scorer.read(sequences, advance=advance)
    return [leakage_row(passage, *values) for passage, values in zip(passages, found, strict=True)]


def rank_canaries(
    scorer: Scorer, tokenizer: PreTrainedTokenizerFast, work: Work, *, progress: Progress, label: str
) -> list[dict[str, Any]]:
    """Return a row for each canary of the work: how likely its secret is, and others of its form."""
    if not work.canaries:
        return []
    with progress.task(f"{label}: canaries", len(work.canaries), "canaries") as advance:
        found = []
        for canary in work.canaries:
            found += score_canaries(scorer, tokenizer, [canary], seed=work.seed)
            advance(1)
    return found


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
