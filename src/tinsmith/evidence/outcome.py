"""Where "better" is decided: a difference counts only where its whole interval lies on one side of zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tinsmith.evidence.schema import Comparison, MetricName, Role, Subject

BETTER, UNCLEAR, WORSE = "better", "not shown to be better", "worse"


class Duel(MetricName):
    """A comparison turned so that our model comes first, and its outcome."""

    ours: str
    other: str
    role: Role  # of the other
    difference: float
    low: float
    high: float
    p_holm: float | None = None
    one_of_many: bool  # significant alone, but not among all comparisons
    detectable: float | None = None
    outcome: str


def decide(low: float, high: float, *, higher_is_better: bool | None) -> str:
    """Return the outcome of a difference, first minus second, from its interval and the metric's direction.

    A metric without a direction shows nothing.
    """
    if higher_is_better is None:
        return UNCLEAR
    if not higher_is_better:
        low, high = -high, -low
    return BETTER if low > 0 else WORSE if high < 0 else UNCLEAR


def find_duels(
    comparisons: Iterable[Comparison], subjects: Mapping[str, Subject], confidence: float
) -> list[Duel]:
    """Return the comparisons in which one of our files takes part, ours first."""
    found = (_turn(comparison, subjects, confidence) for comparison in comparisons)
    return [duel for duel in found if duel is not None]


def worst(duels: Iterable[Duel]) -> str:
    """Return the worst outcome, or nothing where there is no duel."""
    return max((duel.outcome for duel in duels), key=[BETTER, UNCLEAR, WORSE].index, default="")


def _turn(row: Comparison, subjects: Mapping[str, Subject], confidence: float) -> Duel | None:
    a, b, difference, low, high = row.a, row.b, row.difference, row.low, row.high
    ours = [side in subjects and subjects[side].role.is_ours for side in (a, b)]
    if not any(ours):
        return None
    if not ours[0]:
        a, b, difference, low, high = b, a, -difference, -high, -low
    return Duel(
        **{field: getattr(row, field) for field in MetricName.model_fields},
        ours=a,
        other=b,
        role=subjects[b].role if b in subjects else Role.RIVAL,
        difference=difference,
        low=low,
        high=high,
        p_holm=row.p_holm,
        one_of_many=(row.p_holm or 0.0) > 1 - confidence,
        detectable=row.detectable,
        outcome=decide(low, high, higher_is_better=row.higher_is_better),
    )
