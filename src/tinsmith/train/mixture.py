"""What a step is made of: objectives, the batches that each learns from, and their shares of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.tokens.batches import Batches
from tinsmith.train.objectives import Objective


@dataclass(frozen=True)
class MixtureComponent:
    """An objective, what it learns from, and its share of a step's tokens and of its loss."""

    name: str
    objective: Objective
    batches: Batches
    share: float = 1.0


class Mixture:
    """The components of a run. Budgets in epochs count readings of all token sets taken together."""

    def __init__(self, components: Sequence[MixtureComponent]) -> None:
        self.components = tuple(components)
        assert abs(sum(component.share for component in self.components) - 1.0) < 1e-6

    @property
    def epoch_tokens(self) -> int:
        """Count the tokens of all token sets."""
        return sum(component.batches.tokens.tokens for component in self.components)

    def step_tokens(self, step: int) -> int:
        """Count the tokens of a step."""
        return sum(component.batches.step_tokens(step) for component in self.components)
