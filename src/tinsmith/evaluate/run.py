"""Score models on the same texts, questions and probes; what an earlier attempt scored is not scored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from tinsmith.base.assets import model_sha256
from tinsmith.base.files import read_json, sha256_json, write_json, write_jsonl
from tinsmith.base.progress import Advance, Progress
from tinsmith.evaluate.families import families
from tinsmith.evaluate.families.bits import BitsRow, TextScore
from tinsmith.evaluate.families.multiple_choice import ItemScore, shots_prefix
from tinsmith.evaluate.models import EvalModel, opened
from tinsmith.evaluate.probe import HeldOutText, Probe
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.evidence.items import ChoiceRow, Item
from tinsmith.evidence.schema import Precision


@dataclass(frozen=True)
class Work:
    """What every model is scored on: texts, questions by task, and the examples shown before them by task and count.

    Our model and its base are asked the probes too.
    """

    texts: Sequence[HeldOutText]
    window: int
    questions: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    shots: Mapping[tuple[str, int], Sequence[Item]] = field(default_factory=dict)
    probes: Sequence[Probe] = ()
    precision: Precision = "float32"
    device: torch.device = torch.device("cpu")  # noqa: RUF009  (it cannot change)

    def fingerprints(self, model: EvalModel) -> dict[str, str]:
        """Return by kind a hash of all that its items depend on."""
        common = {"files": model_sha256(model.path), "precision": self.precision, "device": self.device.type}
        text = {
            "documents": [(text.doc_id, text.text, text.overlap) for text in self.texts],
            "window": self.window,
            "questions": {task: list(map(repr, items)) for task, items in self.questions.items()},
            "shots": [(*key, list(map(repr, items))) for key, items in self.shots.items()],
        }
        probes = self.probes if model.is_probed else ()
        about: dict[str, Any] = {"text": text} | {probe.kind: probe.about for probe in probes}
        return {kind: sha256_json({**common, "about": value}) for kind, value in about.items()}


def score_model(
    model: EvalModel, tokenizer: PreTrainedTokenizerFast, work: Work, *, items: Path, progress: Progress
) -> None:
    """Score a model; store `KIND-SUBJECT.jsonl` of each kind and last `about-SUBJECT.json` in `items`.

    Only kinds whose fingerprint differs from that of the stored items are scored.
    """
    about = items / f"about-{model.subject}.json"
    stored = read_json(about) if about.is_file() else {}
    wanted = work.fingerprints(model)
    known = stored.get("fingerprints", {})
    valid = {kind: fingerprint for kind, fingerprint in known.items() if wanted.get(kind) == fingerprint}
    # Before any item changes: a kill must not leave an old fingerprint beside new items, or beside none.
    if valid != known:
        write_json(about, stored | {"fingerprints": valid})
    _drop_kinds(items, model.subject, keep=wanted)
    stale = wanted.keys() - valid.keys()
    if not stale:
        progress.say(f"  {model.subject}: scored before")
        return
    with opened(model, work.precision, work.device) as scorer:
        if "text" in stale:
            bits, exam = score_texts(scorer, tokenizer, work, progress=progress, label=model.subject)
            write_jsonl(items / f"bits-{model.subject}.jsonl", bits)
            write_jsonl(items / f"exam-{model.subject}.jsonl", exam)
        for probe in work.probes:
            if probe.kind in stale:
                with progress.task(f"{model.subject}: {probe.kind}", probe.size, "items") as advance:
                    rows = probe.ask(scorer, tokenizer, advance)
                write_jsonl(items / f"{probe.kind}-{model.subject}.jsonl", rows)
        branches = scorer.branches
    write_json(about, {"fingerprints": wanted, "branches": branches, "precision": work.precision})


def _drop_kinds(items: Path, subject: str, *, keep: Mapping[str, str]) -> None:
    """Remove what an earlier recipe had asked this subject and this one does not."""
    for family in families():
        if family.prepare and family.kind not in keep:
            (items / f"{family.kind}-{subject}.jsonl").unlink(missing_ok=True)


def drop_other_subjects(items: Path, subjects: Sequence[str], kinds: Sequence[str]) -> None:
    """Remove what an earlier attempt stored in `items` of these kinds, of all but these subjects."""
    for kind in kinds:
        for file in items.glob(f"{kind}-*.json*"):
            if file.stem.removeprefix(f"{kind}-") not in subjects:
                file.unlink()


def score_texts(
    scorer: Scorer, tokenizer: PreTrainedTokenizerFast, work: Work, *, progress: Progress, label: str
) -> tuple[list[BitsRow], list[ChoiceRow]]:
    """Return rows of bits and of answers. A zero-shot question shares its document's window where that is scored."""
    texts = [TextScore(text, tokenizer, work.window) for text in work.texts]
    first_windows = {text.document.doc_id: text.trees[0] for text in texts}
    plain = [item for task, count in work.shots if count == 0 for item in work.questions[task]]
    asked = [ItemScore(item, tokenizer, short=False, tree=first_windows.get(item.doc_id)) for item in plain]
    trees = _distinct([*(tree for text in texts for tree in text.trees), *(score.tree for score in asked)])
    few = [(task, count) for task, count in work.shots if count > 0]
    short = {key: [ItemScore(item, tokenizer, short=True) for item in work.questions[key[0]]] for key in few}
    total = sum(map(len, trees)) + sum(len(score.tree) for scores in short.values() for score in scores)
    with progress.task(f"{label}: bits and questions", total, "tokens") as advance:
        scored = dict(zip(map(id, trees), scorer.score(trees, advance=advance), strict=True))
        bits = [text.row([scored[id(tree)] for tree in text.trees]) for text in texts]
        answers = [score.row(scored[id(score.tree)], 0) for score in asked]
        for task, count in few:
            prefix = shots_prefix(tokenizer, work.shots[task, count])
            answers += _few_shot_rows(scorer, short[task, count], prefix, count, advance)
    return bits, answers


def _few_shot_rows(
    scorer: Scorer, scores: Sequence[ItemScore], prefix: Sequence[int], count: int, advance: Advance
) -> list[ChoiceRow]:
    scored = scorer.score([score.tree for score in scores], prefix=prefix, advance=advance)
    return [score.row(values, count) for score, values in zip(scores, scored, strict=True)]


def _distinct(trees: Sequence[Tree]) -> list[Tree]:
    return list({id(tree): tree for tree in trees}.values())
