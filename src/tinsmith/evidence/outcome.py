"""Where "better" is decided, for the page, its findings and its first screen alike.

A difference counts only where its whole interval lies on one side of zero and its p-value, adjusted for the number of
comparisons where it is one of many, is within the recipe's level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tinsmith.evidence.schema import Comparison, MetricName, Role, Subject

BETTER, UNCLEAR, WORSE = "better", "not shown to be better", "worse"
NOT_SHOWN = "not shown"  # of a finding: neither a fault nor its absence was shown


class Duel(MetricName):
    """A comparison turned so that our model comes first, and its outcome."""

    ours: str
    other: str
    role: Role  # of the other
    difference: float
    low: float
    high: float
    p_holm: float | None = None
    by_chance: bool  # its interval excludes zero, but its p-value says that it may be chance
    detectable: float | None = None
    outcome: str


def decide(low: float, high: float, *, higher_is_better: bool | None, by_chance: bool = False) -> str:
    """Return the outcome of a difference, first minus second, from its interval and the metric's direction.

    What may be chance shows nothing, nor does a metric without a direction.
    """
    if higher_is_better is None or by_chance:
        return UNCLEAR
    if not higher_is_better:
        low, high = -high, -low
    return BETTER if low > 0 else WORSE if high < 0 else UNCLEAR


def _may_be_chance(row: Comparison, confidence: float) -> bool:
    """Say whether the adjusted p-value, or the plain one of a comparison that is not adjusted, is above the level."""
    p_value = row.p if row.p_holm is None else row.p_holm
    return (p_value or 0.0) > 1 - confidence


def find_duels(
    comparisons: Iterable[Comparison],
    subjects: Mapping[str, Subject],
    confidence: float,
    *,
    by_interval: bool = False,
) -> list[Duel]:
    """Return the comparisons in which one of our files takes part, ours first.

    `by_interval` decides as versions before format 3 of `evidence.json` did: whatever the p-value.
    """
    found = (_turn(comparison, subjects, confidence, by_interval) for comparison in comparisons)
    return [duel for duel in found if duel is not None]


def worst(duels: Iterable[Duel]) -> str:
    """Return the worst outcome, or nothing where there is no duel."""
    return max((duel.outcome for duel in duels), key=[BETTER, UNCLEAR, WORSE].index, default="")


def _turn(
    row: Comparison, subjects: Mapping[str, Subject], confidence: float, by_interval: bool
) -> Duel | None:
    a, b, difference, low, high = row.a, row.b, row.difference, row.low, row.high
    ours = [side in subjects and subjects[side].role.is_ours for side in (a, b)]
    if not any(ours):
        return None
    if not ours[0]:
        a, b, difference, low, high = b, a, -difference, -high, -low
    by_chance = (low > 0 or high < 0) and _may_be_chance(row, confidence)
    return Duel(
        **{field: getattr(row, field) for field in MetricName.model_fields},
        ours=a,
        other=b,
        role=subjects[b].role if b in subjects else Role.RIVAL,
        difference=difference,
        low=low,
        high=high,
        p_holm=row.p_holm,
        by_chance=by_chance,
        detectable=row.detectable,
        outcome=decide(
            low, high, higher_is_better=row.higher_is_better, by_chance=by_chance and not by_interval
        ),
    )
