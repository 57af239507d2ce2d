"""What a step is made of: objectives, the batches that each learns from, and their shares of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.tokens.batches import Batches
from tinsmith.train.objectives import Objective


@dataclass(frozen=True)
class Part:
    """An objective, what it learns from, and its share of a step's tokens and of its loss."""

    name: str
    objective: Objective
    batches: Batches
    share: float = 1.0


class Mixture:
    """The parts of a run. Budgets in epochs count readings of all token sets taken together."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        assert abs(sum(part.share for part in self.parts) - 1.0) < 1e-6

    @property
    def epoch_tokens(self) -> int:
        """Count the tokens of all token sets."""
        return sum(part.batches.tokens.tokens for part in self.parts)

    def step_tokens(self, step: int) -> int:
        """Count the tokens of a step."""
        return sum(part.batches.step_tokens(step) for part in self.parts)
