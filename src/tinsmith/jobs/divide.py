"""Divide examples by group, so that each part has about its share of every label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tinsmith.tokens.tasks import unit_hash


def choose_groups(
    groups: Sequence[str],
    strata: Sequence[Sequence[str]],
    wanted: Callable[[int], float],
    seed: int,
    what: str,
) -> set[str]:
    """Return the groups of one part, given the group and the strata (such as labels) of each example.

    Of each stratum about `wanted` of its number of examples are chosen. Groups are taken whole, in an order that
    depends on seed, `what` and their names alone, where that brings the part nearer to what is wanted; never all of
    them, nor the last examples of a stratum. If every group is too large, the smallest is chosen.
    """
    content: dict[str, Counter[str]] = {}
    for group, names in zip(groups, strata, strict=True):
        content.setdefault(group, Counter()).update(names or ("",))
    total: Counter[str] = sum(content.values(), Counter())
    missing = {name: wanted(count) for name, count in total.items()}
    order = sorted(content, key=lambda group: (unit_hash(seed, what, group), group))
    chosen: set[str] = set()
    for group in order:
        if _is_spared(content[group], total) and _gain(content[group], missing) > 0:
            chosen.add(group)
            missing = {name: left - content[group][name] for name, left in missing.items()}
            total = total - content[group]
    if not chosen and len(order) > 1:
        chosen.add(
            min(order, key=lambda group: (not _is_spared(content[group], total), content[group].total()))
        )
    return chosen


def _is_spared(content: Mapping[str, int], total: Mapping[str, int]) -> bool:
    """Say whether examples of each stratum of a group are left to learn from without it."""
    return all(total[name] > count for name, count in content.items())


def _gain(content: Mapping[str, int], missing: Mapping[str, float]) -> float:
    """Return by how much the sum of squared distances from what is wanted shrinks with a group."""
    return sum(missing[name] ** 2 - (missing[name] - count) ** 2 for name, count in content.items())
