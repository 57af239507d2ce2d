"""Exposure of planted canaries: how high a model ranks the secret it met among secrets that it never met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from transformers import PreTrainedTokenizerFast

from tinsmith.base.progress import Advance
from tinsmith.evaluate.bootstrap import Bootstrap, ratio
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.tokens.canaries import Canary, other_secrets
from tinsmith.tokens.encoding import context_token, encode

_FEWEST = 2  # canaries of a group below which nothing is told


def score_canaries(
    scorer: Scorer,
    tokenizer: PreTrainedTokenizerFast,
    canaries: Sequence[tuple[Canary, int]],
    advance: Advance,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Return a row for each canary (with how often it was seen): log-probability of its secret, and of the others.

    The words before the secret are read once for all of them.
    """
    rows = []
    for canary, seen in canaries:
        tree, start = Tree(), context_token(tokenizer)
        paths = [
            tree.add([start, *encode(tokenizer, f"{canary.lead} {secret}")])
            for secret in (canary.secret, *other_secrets(canary, seed))
        ]
        for path in paths:
            tree.ask(path[1:])
        values = scorer.score([tree])[0]
        own, *others = (math.fsum(values[node] for node in path[1:]) for path in paths)
        rows.append({**asdict(canary), "seen": seen, "own": own, "others": others})
        advance(1)
    return rows


def exposure(row: Mapping[str, Any]) -> float:
    """Return log2 of how many secrets there are over the rank of the canary's own, in bits; 1.4 by chance alone."""
    rank = 1 + sum(other >= row["own"] for other in row["others"])
    return math.log2((1 + len(row["others"])) / rank)


def canary_rows(
    measured: Mapping[str, Sequence[Mapping[str, Any]]], *, resamples: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Return rows of `metrics`: mean exposure by how often canaries were planted, of those met or never planted."""
    rows: list[dict[str, Any]] = []
    for subject, items in measured.items():
        for planted in sorted({item["planted"] for item in items}):
            # One that was planted and not visited before the budget ended was not learnt.
            own = [
                item for item in items if item["planted"] == planted and bool(item["seen"]) == bool(planted)
            ]
            if len(own) < _FEWEST:
                continue
            bootstrap = Bootstrap(len(own), resamples=resamples, confidence=confidence, seed=seed)
            mean = bootstrap.estimate(ratio([exposure(item) for item in own], [1.0] * len(own)))
            common = {"subject": subject, "file": f"items/canaries-{subject}.jsonl", "unit": "bits"}
            rows.append({**common, "metric": f"exposure:{planted}", **mean.row(), "items": len(own)})
    return rows
