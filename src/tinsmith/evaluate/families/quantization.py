"""The quantisation ladder: what each file of our model loses against the original, and the smallest worth taking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinsmith.base.files import read_jsonl
from tinsmith.evaluate.bootstrap import Bootstrap, ratio
from tinsmith.evaluate.items import FORMATS, OURS, Measured
from tinsmith.gguf.header import read_tensor_types

_SPEEDS = ("tokens_per_second", "joules_per_answer")


def build_ladder(
    measured: Mapping[str, Measured],
    speeds: Sequence[Mapping[str, Any]],
    bootstrap: Bootstrap,
    *,
    gguf: Path,
    parity: Path,
    max_loss: float,
) -> dict[str, Any]:
    """Return {rows, recommended, max_loss}: a row for each of our files that was scored, the smallest first.

    `loss` is in bits per byte against the original on the same documents, with its paired interval; `exam` the
    difference in the share of right answers, with its own. Sizes are read from the files in `gguf`, the divergence in
    nats from the items of the parity gate. Recommended is the smallest file whose interval ends within `max_loss`, so
    that a loss which the documents cannot rule out counts as one.
    """
    rates = {(row["subject"], row["metric"]): row["value"] for row in speeds}
    divergences = _divergences(parity)
    original = measured[OURS]
    rows: list[dict[str, Any]] = []
    for format, subject in FORMATS.items():
        if subject not in measured:
            continue
        own = measured[subject]
        counts = [row["bytes"] for row in own.bits]
        sides = [ratio([row["bits"] for row in found.bits], counts) for found in (own, original)]
        loss = bootstrap.difference(*sides)
        rows.append(
            {
                "format": format,
                "subject": subject,
                **_size(gguf / f"model-{format}.gguf"),
                "bits_per_byte": bootstrap.estimate(sides[0]).value,
                "loss": loss.value,
                "low": loss.low,
                "high": loss.high,
                **_exam(own, original, bootstrap),
                "mean_kl": divergences.get(format),
                **{name: rates.get((subject, name)) for name in _SPEEDS},
            }
        )
    rows.sort(key=lambda row: (row["bytes"], row["format"]))
    within = [row["format"] for row in rows if row["high"] <= max_loss]
    return {"rows": rows, "recommended": within[0] if within else None, "max_loss": max_loss}


def _size(path: Path) -> dict[str, float]:
    tensors = read_tensor_types(path)
    size, weights = sum(row[-1] for row in tensors), sum(row[-2] for row in tensors)
    return {"bytes": size, "bits_per_weight": round(8 * size / weights, 2)}


def _divergences(parity: Path) -> dict[str, float]:
    """Return each format's mean KL over all positions from the prompts' means."""
    nats: Counter[str] = Counter()
    positions: Counter[str] = Counter()
    for row in read_jsonl(parity) if parity.exists() else ():
        nats[row["format"]] += row["kl"] * row["positions"]
        positions[row["format"]] += row["positions"]
    return {format: nats[format] / count for format, count in positions.items()}


def _exam(own: Measured, original: Measured, bootstrap: Bootstrap) -> dict[str, float | None]:
    """Return the difference in the share of right answers; an interval needs questions on two documents."""
    documents = sorted({row["doc_id"] for row in original.exam})
    if not documents:
        return dict.fromkeys(("exam", "exam_low", "exam_high"))
    asked = Counter(row["doc_id"] for row in original.exam)
    right = [Counter(row["doc_id"] for row in found.exam if row["correct"]) for found in (own, original)]
    if len(documents) < 2:
        share = (right[0].total() - right[1].total()) / asked.total()
        return {"exam": share, "exam_low": None, "exam_high": None}
    counts = [asked[name] for name in documents]
    sides = [ratio([side[name] for name in documents], counts) for side in right]
    resamples = len(bootstrap.weights)
    found = Bootstrap(
        len(documents), resamples=resamples, confidence=bootstrap.confidence, seed=bootstrap.seed
    ).difference(*sides)
    return {"exam": found.value, "exam_low": found.low, "exam_high": found.high}
