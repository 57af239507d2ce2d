"""Losses that no update may follow: how they are noticed, and what a run that goes back does differently.

Made again, the same steps would end in the same trouble. So a run that goes back leaves out the steps that brought
it and moves at half the rate from some steps before them on. Both follow from step numbers and losses alone, never
from when a checkpoint happened to be written: however often it is killed, a run ends with the same bits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.base.errors import TrainingError

_RATE_FACTOR = 0.5
_STEPS_BACK = 10  # weights may be harmed some steps before it shows
_BEFORE, _LEAST_BEFORE = 50, 20  # steps of the past that count, and the fewest that can be judged by
_LATEST = 3  # steps that are judged
_FLOOR_NATS = 0.05  # of the spread: big steps have almost none, and a twentieth of a nat is no trouble
PAST = _BEFORE + _LATEST  # steps that a judgement looks at
# Steps, at most, from the one that shows trouble back to the first that is made anew.
REACH = _STEPS_BACK + _LATEST


class Diverged(TrainingError):
    """A loss or gradient after which the weights must not move: what, and the steps that brought it."""

    def __init__(self, what: str, *, step: int, first: int, rate: float, rise: float = math.inf) -> None:
        """Name the trouble at `step`, brought by the steps from `first` on, at the configured peak `rate`.

        `rise` is by how many nats the loss stands above what was usual.
        """
        self.step, self.first, self.rise = step, first, rise
        self.seconds = 0.0  # spent on the step that shows it
        super().__init__(
            f"{what} at step {step}",
            where="train",
            next_step=f"lower train.learning_rate (it is {rate:g}), or set train.precision to float32",
        )


@dataclass(frozen=True)
class Rollback:
    """A return to the weights before step `back_to`, and the numbers of the steps left out, with their tokens.

    `seconds` are those of the steps that were thrown away, trouble included: they stay spent.
    """

    step: int
    trouble: str
    back_to: int
    skipped: dict[str, int]
    seconds: float


def not_finite(loss: float, grad_norm: float, step: int, *, rate: float) -> Diverged | None:
    """Return the trouble of a loss, or of a norm of its gradient, that is infinite or no number."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return None
    what = f"the {'gradient' if math.isfinite(loss) else 'loss'} is not finite"
    return Diverged(what, step=step, first=step, rate=rate)


def detect_spike(losses: Sequence[float], step: int, *, factor: float, rate: float) -> Diverged | None:
    """Return the trouble of the latest three losses, that of `step` last, that stand out from the fifty before.

    They do where their median is above that of the fifty by `factor` times the spread, which is the median absolute
    deviation scaled to a normal distribution's standard deviation. One odd batch moves no median of three, and
    medians of the past are not moved by it. A factor of 0 asks for nothing, and so do fewer than 20 steps.
    """
    before, latest = losses[-_BEFORE - _LATEST : -_LATEST], losses[-_LATEST:]
    if not factor or len(before) < _LEAST_BEFORE:
        return None
    usual = statistics.median(before)
    spread = 1.4826 * statistics.median(abs(loss - usual) for loss in before)
    rise = statistics.median(latest) - usual
    if rise <= factor * max(spread, _FLOOR_NATS):
        return None
    # The update before the first high loss did the harm.
    what = f"the loss jumped from about {usual:.3g} to {latest[-1]:.3g}"
    return Diverged(what, step=step, first=max(0, step - _LATEST), rate=rate, rise=rise)


def is_of_the_data(trouble: Diverged, before: float, now: float) -> bool:
    """Say whether a jump came with the data: a step from before it, read again, has not lost half of the rise."""
    return now - before < trouble.rise / 2


def rollback_step(trouble: Diverged) -> int:
    """Return the first step that is made anew."""
    return max(0, trouble.first - _STEPS_BACK)


def is_skipped(step: int, rollbacks: Sequence[Rollback]) -> bool:
    """Say whether a step is passed over."""
    return any(str(step) in rollback.skipped for rollback in rollbacks)


def rate_factor(step: int, rollbacks: Sequence[Rollback]) -> float:
    """Return what a step's learning rate is multiplied by: a half for each return to before it."""
    factor: float = _RATE_FACTOR ** sum(step >= rollback.back_to for rollback in rollbacks)
    return factor
