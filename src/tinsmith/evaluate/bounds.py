"""What a recipe demands of the finished model's figures, and whether the documents show that it is met."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinsmith.base.errors import EvidenceError, RecipeError
from tinsmith.evidence.family import Family
from tinsmith.evidence.schema import OURS, OURS_4BIT, BoundCheck, MetricName, MetricRow
from tinsmith.recipe import BoundsConfig, Recipe


def check_bound_names(recipe: Recipe, families: Iterable[Family]) -> None:
    """Raise RecipeError for a bound on a metric that is unknown, or that this recipe does not have measured.

    What follows a colon is known only from the figures: `check_bounds` looks at that.
    """
    known = {spec.name: family for family in families for spec in family.metrics if not spec.of_pairs}
    bounds = recipe.evaluate.bounds
    for side, named in (("at_most", bounds.at_most), ("at_least", bounds.at_least)):
        for name in named:
            family, where = known.get(MetricName(metric=name).name), f"evaluate.bounds.{side}"
            if family is None:
                raise RecipeError(
                    f"no figure of a model is called {name!r}",
                    where=where,
                    next_step=f"write one of these, with or without what follows a colon: {', '.join(known)}",
                )
            cost = family.cost(recipe, 1.0)
            if not cost.tokens and not cost.seconds:
                raise RecipeError(
                    f"{name} is not measured by this recipe",
                    where=where,
                    next_step="switch its measurement on (docs/evidence.md), or leave the bound out",
                )


def check_bounds(config: BoundsConfig, metrics: Iterable[MetricRow]) -> tuple[BoundCheck, ...]:
    """Return a row for each figure of our model that a bound applies to; of its 4-bit file where only that has one.

    A name stands for itself and for what follows it after a colon: `membership_found` for every attack. A bound is
    kept where the whole interval is within it, so what the documents cannot rule out counts as out of bounds.
    Raises RecipeError for a name that no figure of this run has.
    """
    rows = list(metrics)
    own, of_file = ([row for row in rows if row.subject == name] for name in (OURS, OURS_4BIT))
    checks: list[BoundCheck] = []
    for side, bounds in (("at_most", config.at_most), ("at_least", config.at_least)):
        for name, bound in bounds.items():
            found = [row for row in own if row.matches(name)] or [row for row in of_file if row.matches(name)]
            if not found:
                raise _unknown(side, name, [*own, *of_file])
            for row in found:
                low, high = (row.value if end is None else end for end in (row.low, row.high))
                named = {field: getattr(row, field) for field in MetricName.model_fields if field != "items"}
                kept = high <= bound if side == "at_most" else low >= bound
                checks.append(
                    BoundCheck(
                        **named, side=side, bound=bound, kept=kept, value=row.value, low=low, high=high
                    )
                )
    return tuple(checks)


def refuse_outside(checks: Sequence[BoundCheck], config: BoundsConfig, *, where: str) -> None:
    """Raise EvidenceError naming each figure out of bounds, unless the recipe only wants it reported."""
    broken = [check for check in checks if not check.kept]
    if not broken or config.action == "report":
        return
    named = "; ".join(
        f"{check.metric} is {check.value:.4g} ({check.low:.4g} to {check.high:.4g}), "
        f"the recipe asks for {check.side.replace('_', ' ')} {check.bound:g}"
        for check in broken
    )
    raise EvidenceError(
        f"the model is out of bounds: {named}",
        where=where,
        next_step="see the scored items in that directory; change the training or its text, widen evaluate.bounds, or "
        'set evaluate.bounds.action = "report"; the next build reuses existing scores',
    )


def _unknown(side: str, name: str, own: Sequence[MetricRow]) -> RecipeError:
    names = ", ".join(sorted({row.metric for row in own}))
    return RecipeError(
        f"no figure of our model is called {name!r}",
        where=f"evaluate.bounds.{side}",
        next_step=f"write one of these, or its beginning up to a colon: {names}",
    )
