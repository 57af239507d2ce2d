"""What a model gives away of its training documents: passages word for word, and which documents they were.

Extraction: the greedy continuation of a prefix is the true one exactly where each true token is the likeliest after
those before it, so one pass over the true text tells it and nothing need be generated (50 tokens after 50: Carlini et
al., Quantifying Memorization Across Neural Language Models, 2023).

Membership: loss and its ratio to zlib (Carlini et al., Extracting Training Data from Large Language Models, 2021),
Min-K% (Shi et al., Detecting Pretraining Data from Large Language Models, 2024), and loss against that of the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith.evaluate.bootstrap import Bootstrap, Estimate, ratio
from tinsmith.evaluate.items import BASE, OURS

TRAIN, HELD_OUT = "train", "held_out"
PREFIX = CONTINUATION = 50  # tokens
_FALSE_ALARMS = 0.01  # at which the share of members found is told
_FEWEST = 20  # passages of a side below which nothing is told
ATTACKS = ("loss", "zlib", "min_k", "base")
_GENERATOR = 1  # apart from the resamples of other figures


def leakage_rows(
    measured: Mapping[str, Sequence[dict[str, Any]]], *, resamples: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Return rows of `metrics` from the stored items of our model and, where there is one, its base."""
    rows: list[dict[str, Any]] = []
    for subject, items in measured.items():
        parts = {part: [item for item in items if item["part"] == part] for part in (TRAIN, HELD_OUT)}
        if any(len(own) < _FEWEST for own in parts.values()):
            continue
        common = {"subject": subject, "file": f"items/leakage-{subject}.jsonl", "unit": "share"}
        for part, own in parts.items():
            groups = {"": own} | (
                {"repeated": [item for item in own if item["copies"] > 1]} if part == TRAIN else {}
            )
            for name, chosen in groups.items():
                if len(chosen) >= _FEWEST:
                    share = Bootstrap(
                        len(chosen), resamples=resamples, confidence=confidence, seed=seed
                    ).estimate(ratio([float(item["extracted"]) for item in chosen], [1.0] * len(chosen)))
                    metric = ":".join(filter(None, ("extracted", part, name)))
                    rows.append({**common, "metric": metric, **share.row(), "items": len(chosen)})
        for attack in ATTACKS if subject == OURS else ("loss", "zlib", "min_k"):
            scores = [_scores(attack, parts[part], measured.get(BASE, ())) for part in (TRAIN, HELD_OUT)]
            if any(side is None for side in scores):
                continue
            drawn = _membership(scores[0], scores[1], resamples, confidence, seed)
            for name, found in drawn.items():
                counts = len(parts[TRAIN]) + len(parts[HELD_OUT])
                rows.append({**common, "metric": f"{name}:{attack}", **found.row(), "items": counts})
    return rows


def _scores(
    attack: str, items: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]
) -> NDArray[np.float64] | None:
    """Return one number for each passage, higher for what looks learnt; None without a base to compare with."""
    if attack != "base":
        return np.array([-item[attack] for item in items])
    before = {item["doc_id"]: item["nats"] for item in base}
    if not all(item["doc_id"] in before for item in items):
        return None
    return np.array([(before[item["doc_id"]] - item["nats"]) / item["bytes"] for item in items])


def _membership(
    members: NDArray[np.float64] | None,
    others: NDArray[np.float64] | None,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Estimate]:
    """Return how well scores tell members from others, both sides drawn anew in each resample."""
    assert members is not None
    assert others is not None
    ranks = (members[:, None] > others[None, :]) + 0.5 * (members[:, None] == others[None, :])
    generator = np.random.default_rng([seed, _GENERATOR])
    areas, found = [], []
    for _ in range(resamples):
        left = generator.integers(0, len(members), len(members))
        right = generator.integers(0, len(others), len(others))
        areas.append(float(ranks[np.ix_(left, right)].mean()))
        found.append(_found(members[left], others[right]))
    tail = (1 - confidence) / 2
    values = {
        "membership_auc": (float(ranks.mean()), areas),
        "membership_found": (_found(members, others), found),
    }
    return {
        name: Estimate(value, *(float(bound) for bound in np.quantile(drawn, [tail, 1 - tail])))
        for name, (value, drawn) in values.items()
    }


def _found(members: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the share of members above a threshold that at most one other in a hundred exceeds."""
    allowed = int(_FALSE_ALARMS * len(others))
    threshold = np.sort(others)[::-1][allowed]
    return float((members > threshold).mean())
