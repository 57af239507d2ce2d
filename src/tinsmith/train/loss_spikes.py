"""Detect losses that no update may follow, and decide what a run does differently after rolling back.

Repeated exactly, the same steps would diverge again. So a run that rolls back skips the steps that caused it, and
halves the rate from some steps before them on. Both depend on step numbers and losses alone, never on when a
checkpoint happened to be written: however often it is killed, a run ends with the same bits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.base.errors import TrainingError

_RATE_FACTOR = 0.5
_STEPS_BACK = 10  # weights may be damaged some steps before it shows
_BEFORE, _LEAST_BEFORE = 50, 20  # past steps to compare with: at most, at least
_LATEST = 3  # steps that are tested
_FLOOR_NATS = 0.05  # of the spread: large steps have almost none, and a twentieth of a nat is harmless
PAST = _BEFORE + _LATEST  # steps that detection needs
REACH = (
    _STEPS_BACK + _LATEST
)  # steps, at most, from the one that shows a divergence back to the first repeated one


class Diverged(TrainingError):
    """A loss or gradient after which the weights must not move, and the steps that caused it."""

    def __init__(self, what: str, *, step: int, first: int, rate: float, rise: float = math.inf) -> None:
        """Describe what showed at `step`, caused by the steps from `first` on, at the configured peak `rate`.

        `rise` is the loss above its usual value, in nats.
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
    """A return to the weights before step `back_to`, and the skipped steps with their tokens: a row of the journal.

    `seconds` were spent on the discarded steps, the diverged one included; they count against a time budget.
    """

    step: int
    trouble: str
    back_to: int
    skipped: dict[str, int]
    seconds: float


def not_finite(loss: float, grad_norm: float, step: int, *, rate: float) -> Diverged | None:
    """Return a divergence where the loss or its gradient's norm is infinite or NaN."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return None
    what = f"the {'gradient' if math.isfinite(loss) else 'loss'} is not finite"
    return Diverged(what, step=step, first=step, rate=rate)


def detect_spike(losses: Sequence[float], step: int, *, factor: float, rate: float) -> Diverged | None:
    """Return a divergence where the latest three losses, the last that of `step`, stand out from the fifty before.

    They do if their median exceeds that of the fifty by `factor` times the spread: the median absolute deviation,
    scaled to a normal distribution's standard deviation. One odd batch does not move these medians. A factor of 0
    turns detection off; fewer than 20 past steps are not enough to decide.
    """
    before, latest = losses[-_BEFORE - _LATEST : -_LATEST], losses[-_LATEST:]
    if not factor or len(before) < _LEAST_BEFORE:
        return None
    usual = statistics.median(before)
    spread = 1.4826 * statistics.median(abs(loss - usual) for loss in before)
    rise = statistics.median(latest) - usual
    if rise <= factor * max(spread, _FLOOR_NATS):
        return None
    # The update before the first high loss did the damage.
    what = f"the loss jumped from about {usual:.3g} to {latest[-1]:.3g}"
    return Diverged(what, step=step, first=max(0, step - _LATEST), rate=rate, rise=rise)


def caused_by_data(diverged: Diverged, before: float, now: float) -> bool:
    """Say whether the data caused a jump: an earlier step, read again, rose by less than half as much."""
    return now - before < diverged.rise / 2


def rollback_step(diverged: Diverged) -> int:
    """Return the first step to repeat."""
    return max(0, diverged.first - _STEPS_BACK)


def is_skipped(step: int, rollbacks: Sequence[Rollback]) -> bool:
    """Say whether a rollback skips a step."""
    return any(str(step) in rollback.skipped for rollback in rollbacks)


def rate_factor(step: int, rollbacks: Sequence[Rollback]) -> float:
    """Return the factor of a step's learning rate: a half for each rollback to before it."""
    factor: float = _RATE_FACTOR ** sum(step >= rollback.back_to for rollback in rollbacks)
    return factor
