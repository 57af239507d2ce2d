"""What a recipe demands of the finished model's figures, and whether the documents show that it is met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tinsmith.base.errors import EvidenceError, RecipeError
from tinsmith.evaluate.items import OURS
from tinsmith.recipe import BoundsConfig


def judge_bounds(config: BoundsConfig, metrics: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each figure of our model that a bound speaks of: bound, side, value, low, high, kept.

    A name stands for itself and for what follows it after a colon: `membership_found` for every attack. A bound is
    kept where the whole interval is within it, so that what the documents cannot rule out counts as out of bounds.
    Raises RecipeError for a name that no figure of this run bears.
    """
    own = [row for row in metrics if row["subject"] == OURS]
    judged: list[dict[str, Any]] = []
    for side, bounds in (("at_most", config.at_most), ("at_least", config.at_least)):
        for name, bound in bounds.items():
            found = [row for row in own if row["metric"] == name or row["metric"].startswith(f"{name}:")]
            if not found:
                raise _unknown(side, name, own)
            for row in found:
                kept = row["high"] <= bound if side == "at_most" else row["low"] >= bound
                common = {"metric": row["metric"], "side": side, "bound": bound, "kept": kept}
                judged.append({**common, **{field: row[field] for field in ("value", "low", "high")}})
    return judged


def refuse_outside(judged: Sequence[Mapping[str, Any]], config: BoundsConfig, *, where: str) -> None:
    """Raise EvidenceError naming each figure out of bounds, unless the recipe only wants it reported."""
    broken = [row for row in judged if not row["kept"]]
    if not broken or config.action == "report":
        return
    told = "; ".join(
        f"{row['metric']} is {row['value']:.4g} ({row['low']:.4g} to {row['high']:.4g}), "
        f"{row['side'].replace('_', ' ')} {row['bound']:g} is allowed"
        for row in broken
    )
    raise EvidenceError(
        f"the model is out of bounds: {told}",
        where=where,
        next_step="its items lie there; train less or on cleaner text, widen evaluate.bounds, or set "
        'evaluate.bounds.action = "report"; nothing is scored again that was scored',
    )


def _unknown(side: str, name: str, own: Sequence[Mapping[str, Any]]) -> RecipeError:
    names = ", ".join(sorted({str(row["metric"]) for row in own}))
    return RecipeError(
        f"no figure of our model is called {name!r}",
        where=f"evaluate.bounds.{side}",
        next_step=f"take one of, or the beginning of one up to a colon: {names}",
    )
