"""Fit the ranges and weights of the ready score and write them beside it: `python -m benchmarks.ready_weights`.

Good text is real prose of four fields, poor text the same damaged or emptied in five ways; contracts, regulations
and licences, and three more ways, are left for the figures of `python -m benchmarks score`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.paths import ROOT
from benchmarks.poor import KINDS
from benchmarks.prose import pieces
from tinsmith.base.files import write_atomic
from tinsmith.corpus.steps.score.features import ENGLISH, FEATURES, measure
from tinsmith.corpus.steps.score.ready import MAX_DISTANCE

FIELDS = ("encyclopedia", "central bank", "statutes", "filings")
_TABLE = ROOT / "src" / "tinsmith" / "corpus" / "score" / "ready.csv"
_PENALTY = 0.02
# Of these, more is never worse: no upper end.
_MORE_IS_BETTER = ("sentences", "letters", "explanations", "definitions", "function_words", "small_words")
_LESS_IS_BETTER = (
    "odd_words",
    "short_lines",
    "table_lines",
    "repeated_lines",
    "joints",
    "navigation",
    "number_words",
)


def main() -> None:
    """Fit and write."""
    good = [piece for field in FIELDS for piece in pieces(field, fitting=True)]
    chance = random.Random(1)
    poor = [
        damage(piece, chance)
        for number, piece in enumerate(good)
        for damage in [list(KINDS.values())[number % 5]]
    ]
    fine, bad = _measured(good), _measured(poor)
    low, high = np.percentile(fine, [5, 95], axis=0)
    scale = np.maximum(np.percentile(fine, 95, axis=0) - np.percentile(fine, 5, axis=0), 1e-3)
    names = list(FEATURES)
    low[[names.index(name) for name in _LESS_IS_BETTER]] = 0.0
    high[[names.index(name) for name in _MORE_IS_BETTER]] = 100.0
    rows = np.concatenate([fine, bad])
    far = np.minimum(MAX_DISTANCE, np.maximum(np.maximum(low - rows, rows - high), 0.0) / scale)
    labels = np.array([1.0] * len(fine) + [0.0] * len(bad))
    english, best = fit(far, labels)
    neutral = [number for number, name in enumerate(names) if name not in ENGLISH]
    part, best_other = fit(far[:, neutral], labels)
    other = np.zeros(len(names))
    other[neutral] = part
    lines = [
        "# Fitted by python -m benchmarks.ready_weights on wikitext-2 (CC BY-SA 3.0), FOMC minutes, the US Code and",
        f"# SEC filings (US public records): {len(good)} pieces of prose, and as many damaged. Numbers only, no text.",
        "measure,low,high,scale,weight,weight_other",
        f"(none),0,0,0,{best:.3f},{best_other:.3f}",
        *(
            f"{name},{low[n]:.4f},{high[n]:.4f},{scale[n]:.4f},{english[n]:.3f},{other[n]:.3f}"
            for n, name in enumerate(names)
        ),
    ]
    write_atomic(_TABLE, "\n".join(lines) + "\n")
    print("\n".join(lines))


def fit(far: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return non-negative costs (F,) per length outside the range, and the value of a text without fault."""

    def loss(guess: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        values = guess[-1] - far @ guess[:-1]
        signs = 2 * labels - 1
        chances = 1 / (1 + np.exp(signs * values))
        slope = -signs * chances / len(labels)
        total = float(np.logaddexp(0, -signs * values).mean() + _PENALTY * (guess[:-1] ** 2).sum())
        return total, np.append(-(far.T @ slope) + 2 * _PENALTY * guess[:-1], slope.sum())

    count = far.shape[1]
    bounds = [(0.05, None)] * count + [(None, None)]
    found = minimize(loss, np.ones(count + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    return found[:-1], float(found[-1])


def _measured(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([list(measure(text).values()) for text in texts])


if __name__ == "__main__":
    main()
