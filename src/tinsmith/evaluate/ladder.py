"""The quantisation ladder: what each file of our model loses against the original, and the smallest worth taking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinsmith.evaluate.compare import Bootstrap, ratio
from tinsmith.evaluate.items import FORMATS, OURS, Measured

_SPEEDS = ("tokens_per_second", "joules_per_answer")


def build_ladder(
    measured: Mapping[str, Measured],
    subjects: Sequence[Mapping[str, Any]],
    speeds: Sequence[Mapping[str, Any]],
    parity: Mapping[str, Mapping[str, Any]],
    bootstrap: Bootstrap,
    *,
    max_loss: float,
) -> dict[str, Any]:
    """Return {rows, recommended, max_loss}: a row for each of our files that was scored, the smallest first.

    `loss` is in bits per byte against the original on the same documents, with its paired interval; `exam` the
    difference in the share of right answers. Recommended is the smallest file whose interval ends within `max_loss`,
    so that a loss which the documents cannot rule out counts as one.
    """
    facts = {row["subject"]: row for row in subjects}
    rates = {(row["subject"], row["metric"]): row["value"] for row in speeds}
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
                "bytes": facts[subject]["bytes"],
                "bits_per_weight": facts[subject]["bits_per_weight"],
                "bits_per_byte": bootstrap.estimate(sides[0]).value,
                "loss": loss.value,
                "low": loss.low,
                "high": loss.high,
                "exam": _share(own) - _share(original) if own.exam else None,
                "mean_kl": parity.get(format, {}).get("mean_kl"),
                **{name: rates.get((subject, name)) for name in _SPEEDS},
            }
        )
    rows.sort(key=lambda row: (row["bytes"], row["format"]))
    within = [row["format"] for row in rows if row["high"] <= max_loss]
    return {"rows": rows, "recommended": within[0] if within else None, "max_loss": max_loss}


def _share(found: Measured) -> float:
    return sum(bool(row["correct"]) for row in found.exam) / len(found.exam)
