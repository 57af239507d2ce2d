"""Let a bundle's model answer some of its questions again, and compare with what is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_jsonl
from tinsmith.evaluate.families.multiple_choice import ItemScore
from tinsmith.evaluate.models import EvalModel, open_tokenizer, opened
from tinsmith.evidence.items import read_questions
from tinsmith.evidence.schema import OURS
from tinsmith.model.load import choose_device

_SAMPLE = 20
# Allowed difference of a choice scored again in float32: another processor, other batches, bfloat16 rounding.
_SAME_NATS = {"float32": 2e-2, "bfloat16": 0.5}
_SAME_SHARE = {"float32": 0.0, "bfloat16": 0.03}  # and of the log-probability itself: passages are long


def rescore(model: Path, items: Path, *, precision: str, device: str, seed: int | None = None) -> int:
    """Score a sample of the questions in `items` with `model`; return how many.

    `precision` is what the bundle's figures say they were scored in. `device` is the recipe's: cpu is kept to, and
    elsewhere a GPU is used where this machine has one. A new sample is drawn each time unless a seed
    is given, so that nobody can prepare for it. Raises BundleError for the first question whose log-probabilities
    differ, or where there is none.
    """
    file = items / "questions.jsonl"
    # Only zero-shot questions: those with examples before them need the examples.
    stored = {
        row["item"]: row["scores"] for row in read_jsonl(items / f"exam-{OURS}.jsonl") if not row["shots"]
    }
    questions = [item for item in (read_questions(file) if file.exists() else []) if item.item in stored]
    if not questions:
        raise BundleError(
            "has no questions that could be asked again",
            where=str(file),
            next_step="build with evaluate.built_items above 0",
        )
    drawn = sorted(np.random.default_rng(seed).permutation(len(questions))[:_SAMPLE])
    ours = EvalModel(OURS, OURS, model, "")
    tokenizer = open_tokenizer(ours)
    scores = [ItemScore(item, tokenizer, short=False) for item in (questions[i] for i in drawn)]
    with opened(ours, "float32", choose_device("cpu" if device == "cpu" else "auto")) as scorer:
        found = scorer.score([score.tree for score in scores])
    for score, values in zip(scores, found, strict=True):
        again, name = score.row(values, 0)["scores"], score.item.item
        differences = {
            choice: abs(value - stored[name].get(choice, np.inf)) for choice, value in again.items()
        }
        worst = max(differences.values())
        allowed = {
            choice: _SAME_NATS[precision] + _SAME_SHARE[precision] * abs(value)
            for choice, value in again.items()
        }
        if any(not differences[choice] < allowed[choice] for choice in again):
            raise BundleError(
                f"scores item {name} differently from what is stored (by {worst:.3g} nats)",
                where=str(model),
                next_step="these weights are not those that were measured; do not trust this bundle",
            )
    return len(drawn)
