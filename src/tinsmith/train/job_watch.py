"""Watch a run on the examples of a job: validate its passes, average its weights, end with the best of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tinsmith.base.files import JsonObject, atomic_path
from tinsmith.base.progress import Progress
from tinsmith.recipe import Budget
from tinsmith.train.budget import TrainProgress, share_done
from tinsmith.train.engine import Engine
from tinsmith.train.objectives.answer import Answer
from tinsmith.train.weight_average import WeightAverage

READINGS = "readings.jsonl"
_BEST, _AVERAGE = "best.safetensors", "average.safetensors"


@dataclass(frozen=True)
class Score:
    """Loss and share right of weights on so many asks.

    Later weights, at a lower rate or a mean, are better unless validation says otherwise by more than chance does.
    """

    loss: float
    right: float
    asks: int

    @property
    def rank(self) -> float:
        """Return what models are ordered by, the least first: the loss in nats and the share of wrong answers.

        By loss alone a bolder model loses that has more answers right.
        """
        return self.loss + 1 - self.right

    def beats(self, later: Score) -> bool:
        """Say whether these weights are better than later ones: a lower loss, and clearly more answers right.

        Clearly is half the standard error of a share of one half.
        """
        return self.loss < later.loss and self.right - later.right > 0.25 / math.sqrt(self.asks)


@dataclass(frozen=True)
class Outcome:
    """What validation says of a model: mean loss in nats, and which asks it answers right (N,).

    The loss of labels is that of an ask at the best temperature, since boldness can be mended and a wrong order
    cannot. The loss of written answers is that of a token.
    """

    loss: float
    correct: NDArray[np.bool_]

    @property
    def right(self) -> float:
        """Return the share of asks answered right."""
        return float(self.correct.mean())

    @property
    def score(self) -> Score:
        """Return the figures that weights are compared by."""
        return Score(self.loss, self.right, len(self.correct))

    def said(self, when: str) -> str:
        """Return a line about these figures."""
        return (
            f"{when}: {100 * self.right:.1f} in 100 right on {len(self.correct)} of the validation part, "
            f"loss {self.loss:.3f}"
        )


class Validator(Protocol):
    """Tells what validation says of a model in training, and where progress is told."""

    progress: Progress

    def validate(self, engine: Engine) -> Outcome | None:
        """Return the outcome, or None without a validation part."""
        ...


class RunWatch:
    """Validates a run after each pass, and keeps its best weights, their average and what it held of each example."""

    def __init__(self, validator: Validator, engine: Engine, epoch_tokens: int, out: Path) -> None:
        self._validator, self._engine, self._out = validator, engine, out
        self._epoch, self._passes = epoch_tokens, 0
        self._budget = Budget.parse(engine.config.budget)
        self._looked: tuple[int, Outcome | None] = (-1, None)
        self._weights = {
            name: weight for name, weight in engine.model.named_parameters() if weight.requires_grad
        }
        self._average = WeightAverage(self._weights, out / _AVERAGE)

    def __call__(self, done: TrainProgress) -> None:
        """Look at a run after a step."""
        if done.step == 1:  # what a killed attempt without a checkpoint left behind is of other weights
            (self._out / _BEST).unlink(missing_ok=True)
            self._average.forget()
        component, passes = self._engine.mixture.components[0], done.tokens // self._epoch
        objective = component.objective
        assert isinstance(objective, Answer)
        rows = [
            {"passes": done.tokens / self._epoch, "number": number, **asdict(objective.readings[number])}
            for number in component.batches.numbers(done.step - 1)
            if number in objective.readings
        ]
        _append(self._out / READINGS, rows)
        self._average.add(share_done(self._budget, self._epoch, done))
        if passes > self._passes:
            self._passes = passes
            self._look(done.step, done.tokens / self._epoch, last=False)

    def best(self, log: Sequence[JsonObject]) -> Outcome | None:
        """Put the best weights into the model, and return what validation says of them.

        The last ones count as later than those of a pass, their average as later still.
        """
        step, tokens = log[-1]["step"] + 1, sum(row["tokens"] for row in log)
        if self._looked[0] != step:
            self._look(step, tokens / self._epoch, last=True)
        outcome = self._looked[1]
        if outcome is None:
            return None
        last = {name: weight.detach().clone() for name, weight in self._weights.items()}
        averaged = self._average.put() and self._validator.validate(self._engine)
        if averaged:
            self._validator.progress.say(f"  {averaged.said('with the mean of its second half')}")
            if outcome.score.beats(averaged.score):
                self._put(last)
            else:
                outcome = averaged
        before, passes = self._kept()
        if before is None or not before.beats(outcome.score):
            return outcome
        self._validator.progress.say(f"  keeping the weights after {passes:.1f} passes, which validate best")
        self._put(load_file(self._out / _BEST))
        return self._validator.validate(self._engine)

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in weights.items():
                self._weights[name].copy_(tensor)

    def _look(self, step: int, passes: float, *, last: bool) -> None:
        outcome = self._validator.validate(self._engine)
        self._looked = (step, outcome)
        if outcome is None:
            return
        self._validator.progress.say(f"  {outcome.said(f'after {passes:.1f} passes')}")
        _append(
            self._out / "passes.jsonl",
            [{"step": step, "passes": passes, "loss": outcome.loss, "right": outcome.right}],
        )
        before, _ = self._kept()
        if not last and not (before and before.beats(outcome.score)):
            weights = {name: weight.detach().contiguous() for name, weight in self._weights.items()}
            with atomic_path(self._out / _BEST) as partial:
                facts = {"passes": passes, **asdict(outcome.score)}
                save_file(weights, partial, {name: repr(value) for name, value in facts.items()})

    def _kept(self) -> tuple[Score | None, float]:
        """Return the score and the passes of the weights on disk."""
        if not (self._out / _BEST).exists():
            return None, 0.0
        with safe_open(self._out / _BEST, "pt") as file:
            facts = {name: float(value) for name, value in file.metadata().items()}
        return Score(facts["loss"], facts["right"], int(facts["asks"])), facts["passes"]


def _append(path: Path, rows: Sequence[JsonObject]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
