"""What a part of the stage *evaluate* leaves beside its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tinsmith.evidence.schema import Gap, Subject


@dataclass(frozen=True)
class Measured:
    """Who was measured, notes for the report, what could not be measured and why, and the stage's statistics."""

    subjects: Sequence[Subject] = ()
    notes: Sequence[str] = ()
    gaps: Sequence[Gap] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
