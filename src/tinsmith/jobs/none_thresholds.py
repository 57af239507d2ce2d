"""Thresholds of "none": above its own probability of "none", a field counts as absent from a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALSE_VALUES = 0.05  # of the inputs without a value, so many at most may be given one
_FALSE_PRICES = np.geomspace(0.5, 5000.0, 60)  # of such a value, in values found
_EXTRA_PRICE = 0.5  # of one value too many, where there are others: what F1 takes off for it
_TINY = 1e-9
EITHER = 0.5


@dataclass(frozen=True)
class NoneChances:
    """The probabilities of "none" that a model gave to the validation asks about one field.

    `present`: of passages that hold a value; `elsewhere`: of others whose input holds one; `absent`: of inputs without
    one, a passage each. At work, `asked` passages of an input are asked; with `several`, the values of all are given.
    """

    present: Sequence[float] = ()
    elsewhere: Sequence[float] = ()
    absent: Sequence[float] = ()
    asked: int = 1
    several: bool = False


def fit_none(fields: Mapping[str, NoneChances]) -> dict[str, float]:
    """Return for each field the probability of "none" above which a text is taken to hold no value.

    Together they find as many values as they can while at most `FALSE_VALUES` of the inputs without a value, over all
    fields, are given one. So a field whose values are easy to tell apart leaves room for the others. Of equally good
    thresholds it takes the middle. Each field also counts one input with the chances of all fields: few examples do
    not decide alone. `EITHER` where validation has texts of one kind only.
    """
    present = np.sort([chance for field in fields.values() for chance in field.present])
    absent = np.sort([chance for field in fields.values() for chance in field.absent])
    if not len(present) or not len(absent):
        return dict.fromkeys(fields, EITHER)
    tables = {name: _Table.of(field, present, absent) for name, field in fields.items()}
    allowed = FALSE_VALUES * sum(len(field.absent) + 1 for field in fields.values())
    chosen: dict[str, int] = {}
    left = 0.0
    for price in _FALSE_PRICES:
        chosen = {name: table.best(price) for name, table in tables.items()}
        left = allowed - sum(table.false[chosen[name]] for name, table in tables.items())
        if left >= 0:
            break
    # One price for all fields leaves some of the allowance unspent: the best thresholds that it still affords get it.
    while True:
        gains = {name: table.gain(chosen[name], left) for name, table in tables.items()}
        name = max(gains, key=lambda name: gains[name][0])
        if gains[name][0] <= 0:
            return {name: float(table.places[chosen[name]]) for name, table in tables.items()}
        left -= tables[name].false[gains[name][1]] - tables[name].false[chosen[name]]
        chosen[name] = gains[name][1]


@dataclass(frozen=True)
class _Table:
    """What each threshold of a field gives (T,): values found, inputs with a false one, and values too many."""

    places: NDArray[np.float64]
    found: NDArray[np.float64]
    false: NDArray[np.float64]
    extra: NDArray[np.float64]

    @classmethod
    def of(cls, field: NoneChances, present: NDArray[np.float64], absent: NDArray[np.float64]) -> _Table:
        """Return the table of a field; `present` and `absent` are those of all fields, sorted."""
        edges = np.unique([0.0, *field.present, *field.elsewhere, *field.absent, 1.0])
        places = (edges[1:] + edges[:-1]) / 2

        def below(chances: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
            return np.searchsorted(np.sort(chances), places, side="right").astype(float)

        inputs = len(field.absent) + 1
        share = (below(field.absent) + below(absent) / len(absent)) / inputs
        return cls(
            places,
            below(field.present) + below(present) / len(present),
            inputs * (1 - (1 - share) ** field.asked),
            field.asked * below(field.elsewhere) * field.several,
        )

    def best(self, price: float) -> int:
        """Return the number of the best threshold where a false value costs so many found ones."""
        return _middle_of_best(self.found - price * self.false - _EXTRA_PRICE * self.extra)

    def gain(self, now: int, left: float) -> tuple[float, int]:
        """Return by how much the best threshold with at most `left` more false values beats the present one, and it."""
        worth = self.found - _FALSE_PRICES[0] * self.false - _EXTRA_PRICE * self.extra
        affordable = self.false - self.false[now] <= left
        if not affordable.any():
            return 0.0, now
        best = _middle_of_best(np.where(affordable, worth, -np.inf))
        gained = float(worth[best] - worth[now])
        return (gained if gained > _TINY else 0.0), best


def _middle_of_best(worth: NDArray[np.float64]) -> int:
    best = np.flatnonzero(worth >= worth.max() - _TINY)
    return int(best[len(best) // 2])
