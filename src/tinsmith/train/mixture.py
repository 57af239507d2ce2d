"""What a step is made of: objectives, the batches of each, and their shares of the step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import JsonObject
from tinsmith.recipe import EXAMPLE_FILES, OBJECTIVES, TrainConfig
from tinsmith.tokens.batches import Batches
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.objectives import Objective, Setup, make_objective


@dataclass(frozen=True)
class MixtureComponent:
    """An objective, its batches, and its share of a step's tokens and loss."""

    name: str
    objective: Objective
    batches: Batches
    share: float = 1.0


class Mixture:
    """The components of a run. An epoch reads the token sets of all components once."""

    def __init__(self, components: Sequence[MixtureComponent]) -> None:
        self.components = tuple(components)
        assert abs(sum(component.share for component in self.components) - 1.0) < 1e-6

    @property
    def epoch_tokens(self) -> int:
        """Count the tokens of all token sets."""
        return sum(component.batches.epoch_tokens for component in self.components)

    def step_tokens(self, step: int) -> int:
        """Count the tokens of a step."""
        return sum(component.batches.step_tokens(step) for component in self.components)


def open_sets(config: TrainConfig, tokenize: Path) -> dict[str, TokenSet]:
    """Open the token set of each objective. Raises TrainingError where one is missing, empty or without targets."""
    sets = {}
    for name in config.shares:
        folder = OBJECTIVES[name].tokens
        if not (tokenize / folder / "tokens.json").exists():
            source = f"tokenize.{EXAMPLE_FILES[folder]}" if folder else "documents"
            raise TrainingError(
                f"there are no tokens for the objective {name}",
                where=str(tokenize / folder),
                next_step=f"name {source} in the recipe and run the stage tokenize with this train.objective",
            )
        sets[name] = TokenSet(tokenize / folder)
    return sets


def make_mixture(setup: Setup, sets: Mapping[str, TokenSet], *, seed: int) -> Mixture:
    """Give each objective its batches and its share of a step's tokens and loss.

    Raises AssetError for the teacher, TrainingError where it cannot teach these tokens.
    """
    config, components = setup.config, []
    for name, batches in _make_batches(config, sets, seed).items():
        share = config.shares[name]
        if len(config.shares) > 1 and batches.longest > batches.batch_tokens:
            setup.progress.say(
                f"  {name}: its share of a step is {batches.batch_tokens} tokens, and its longest example has "
                f"{batches.longest}; such steps are larger, but its share of the loss stays {share:.0%}"
            )
        components.append(MixtureComponent(name, make_objective(name, setup), batches, share))
    return Mixture(components)


def count_reads(
    config: TrainConfig, sets: Mapping[str, TokenSet], log: Iterable[JsonObject], *, seed: int
) -> dict[str, Counter[int]]:
    """Return by objective how often the steps of `log` read each sequence of its set.

    The order of a mixture depends on seed and step alone, and the log lists the steps that are in the weights, however
    often a run was stopped or rolled back. A step at rate 0 teaches nothing.
    """
    steps = [row["step"] for row in log if row["learning_rate"]]
    return {
        name: Counter(number for step in steps for number in batches.numbers(step))
        for name, batches in _make_batches(config, sets, seed).items()
    }


def _make_batches(config: TrainConfig, sets: Mapping[str, TokenSet], seed: int) -> dict[str, Batches]:
    return {
        name: Batches(
            sets[name],
            batch_tokens=max(1, round(config.batch_tokens * share)),
            micro_rows=config.micro_rows,
            seed=seed,
        )
        for name, share in config.shares.items()
    }
