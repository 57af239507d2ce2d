"""What a part of the stage *evaluate* leaves beside its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tinsmith.evidence.schema import Gap, Subject


@dataclass(frozen=True)
class Spent:
    """What asking an endpoint has taken of its limits."""

    money: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Measured:
    """Who was measured, notes for the report, what could not be measured and why, and the stage's statistics.

    By section of an endpoint, `withheld` names the documents that might not be sent to it; by its name, `spent` is what
    it took.
    """

    subjects: Sequence[Subject] = ()
    notes: Sequence[str] = ()
    gaps: Sequence[Gap] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    withheld: Mapping[str, frozenset[str]] = field(default_factory=dict)
    spent: Mapping[str, Spent] = field(default_factory=dict)
