"""What is asked of our model and its base beside quality: leaks, bias, planted behaviour; one shape for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerFast

from tinsmith.base.progress import Advance
from tinsmith.evaluate.families.backdoor_search import trigger_rows
from tinsmith.evaluate.families.bias import bias_rows
from tinsmith.evaluate.families.canaries import canary_rows
from tinsmith.evaluate.families.memorization import leakage_rows
from tinsmith.evaluate.families.pii_extraction import asked_back_rows
from tinsmith.evaluate.items import Measured
from tinsmith.evaluate.scoring.scorer import Scorer

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Audit:
    """A question to a model whose answers are rows in `items/KIND-SUBJECT.jsonl`.

    `about` holds all that the rows depend on beside the model: it is hashed and never stored. `ask` advances by one
    for each of `size` parts.
    """

    kind: str
    about: tuple[str, ...]
    size: int
    ask: Callable[[Scorer, PreTrainedTokenizerFast, Advance], Rows]


# By kind: what makes rows of `metrics` from the stored rows of each subject.
FIGURES: dict[str, Callable[..., Rows]] = {
    "leakage": leakage_rows,
    "canaries": canary_rows,
    "asked-back": asked_back_rows,
    "bias": bias_rows,
    "triggers": trigger_rows,
}


def audit_rows(
    measured: Mapping[str, Measured], *, resamples: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Return the rows of `metrics` of all audits from what was stored of each subject."""
    rows: Rows = []
    for kind, figures in FIGURES.items():
        own = {name: found.audits[kind] for name, found in measured.items() if found.audits.get(kind)}
        rows += figures(own, resamples=resamples, confidence=confidence, seed=seed)
    return rows
