"""How likely a passage holds no value, from the language model and from the words of the passage."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from tinsmith.jobs.ask import NONE, Ask

_LEAST = 1e-9  # of a probability whose log-odds are taken


class NoneScale(BaseModel):
    """How the log-odds of "none" add up: the model's times `model`, less the look's score, and a field's bias.

    The higher the look's score, the likelier the passage holds a value. The default leaves the model's as they are.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: float = 1.0
    look: float = 0.0
    bias: dict[str, float] = {}

    def chance(self, by_model: float, ask: Ask) -> float:
        """Return the probability of "none" for an ask, given the language model's own."""
        odds = self.model * _log_odds(by_model) - self.look * ask.look + self.bias.get(ask.field, 0.0)
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, odds))))


def fit_none_scale(asks: Sequence[Ask], by_model: ArrayLike) -> NoneScale:
    """Fit a scale to validation asks and the language model's probabilities of "none" (N,).

    Returns the default unless the look lowers the loss by more than one parameter explains by chance (Akaike 1974).
    """
    absent = np.array([ask.answer == NONE for ask in asks])
    if len(np.unique(absent)) < 2:
        return NoneScale()
    fields = sorted({ask.field for ask in asks})
    model = np.array([_log_odds(chance) for chance in np.asarray(by_model, dtype=float).tolist()])
    look = np.array([-ask.look for ask in asks])
    of_field = np.array([[float(ask.field == field) for field in fields] for ask in asks])
    alone, _ = _fit(np.column_stack([model, of_field]), absent)
    both, weights = _fit(np.column_stack([model, of_field, look]), absent)
    if both >= alone - 1 / len(asks) or weights[-1] <= 0:
        return NoneScale()
    bias = dict(zip(fields, weights[1:-1].round(6).tolist(), strict=True))
    return NoneScale(model=round(float(weights[0]), 6), look=round(float(weights[-1]), 6), bias=bias)


def _fit(features: NDArray[np.float64], absent: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
    """Return the mean loss of a logistic regression in nats, and its weights (F,)."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000).fit(features, absent)
    weights: NDArray[np.float64] = fitted.coef_[0]
    margin = np.where(absent, 1.0, -1.0) * (features @ weights)
    return float(np.logaddexp(0.0, -margin).mean()), weights


def _log_odds(chance: float) -> float:
    held = min(max(chance, _LEAST), 1 - _LEAST)
    return math.log(held / (1 - held))
