"""Training progress from 0 to 1 as a pure function of what was done, and the learning rate over it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from tinsmith.recipe import Budget, TrainConfig


@dataclass(frozen=True)
class TrainProgress:
    """What is done: steps, tokens, and seconds spent inside steps."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Decision:
    """What a time budget decides before a step; with a list of these the run can be repeated."""

    step: int
    progress: float
    learning_rate: float


def trapezoid(progress: float, warmup: float, decay: float) -> float:
    """Return the share of the peak learning rate: linear rise, plateau, linear fall to zero at progress 1."""
    rise = progress / warmup if warmup else 1.0
    fall = (1.0 - progress) / decay if decay else 1.0
    return max(0.0, min(1.0, rise, fall))


def cosine(progress: float, warmup: float, decay: float) -> float:
    """Return the share of the peak learning rate: linear rise, then half a cosine to zero (arXiv:1608.03983)."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup))) if warmup < 1 else 1.0


SCHEDULES = {"trapezoid": trapezoid, "cosine": cosine}


def progress_of(
    budget: Budget, epoch_tokens: int, done: TrainProgress, next_tokens: int, next_seconds: float
) -> float | None:
    """Return the progress at the middle of the next step, or None when the budget is spent.

    A time budget is spent when the next step would overrun it by more than half the step, so the end lies within
    half a step of the budget. Every budget allows at least one step.
    """
    behind, ahead, total = {
        "steps": (float(done.step), 1.0, budget.amount),
        "tokens": (float(done.tokens), float(next_tokens), budget.amount),
        "epochs": (float(done.tokens), float(next_tokens), budget.amount * epoch_tokens),
        "seconds": (done.seconds, next_seconds, budget.amount),
    }[budget.kind]
    limit = total - ahead / 2 if budget.kind == "seconds" else total
    if done.step and behind >= limit:
        return None
    return min(1.0, (behind + ahead / 2) / total)


def share_done(budget: Budget, epoch_tokens: int, done: TrainProgress) -> float:
    """Return the share of a budget that is spent, from 0 to 1."""
    spent = {
        "steps": done.step / budget.amount,
        "tokens": done.tokens / budget.amount,
        "epochs": done.tokens / (budget.amount * epoch_tokens),
        "seconds": done.seconds / budget.amount,
    }[budget.kind]
    return min(1.0, spent)


class Pace:
    """Estimate a step's seconds from the latest steps."""

    KEPT = 5  # steps, since the machine's pace changes

    def __init__(self, seconds_per_token: float) -> None:
        self._guess, self._paces = seconds_per_token, list[float]()

    def record(self, tokens: int, seconds: float) -> None:
        """Record a finished step."""
        self._paces = [*self._paces, seconds / tokens][-self.KEPT :]

    def estimate(self, tokens: int) -> float:
        """Return the seconds that a step of this many tokens will take, by the median pace."""
        return statistics.median(self._paces or [self._guess]) * tokens


def rate_at(progress: float, config: TrainConfig) -> float:
    """Return the learning rate at a progress, by the configured schedule."""
    return config.learning_rate * SCHEDULES[config.schedule](progress, config.warmup, config.decay)
