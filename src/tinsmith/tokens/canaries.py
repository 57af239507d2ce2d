"""Canaries: random secrets planted among the training sequences, to measure how well a model memorises them.

Method: The Secret Sharer (Carlini et al., 2019). Canaries are sequences of their own, recognised by name, and never
part of a document. Training without them uses the same documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tinsmith.recipe import CanaryConfig

_NAME = "canary:"
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_SYLLABLES, _GROUPS = 3, 2
CANDIDATES = 255  # other secrets that a canary's secret is ranked among: at most 8 bits of exposure


@dataclass(frozen=True)
class Canary:
    """A secret and the words before it; it is planted in `planted` sequences."""

    name: str
    lead: str
    secret: str
    planted: int

    @property
    def text(self) -> str:
        """Return the training text: words and secret."""
        return f"{self.lead} {self.secret}"

    def sequences(self) -> Iterator[str]:
        """Yield the name of each sequence that contains it."""
        return (f"{_NAME}{self.name}:{number}" for number in range(self.planted))

    def seen(self, times: Mapping[str, int]) -> int:
        """Count how often it was read, from how often each sequence was."""
        return sum(times.get(name, 0) for name in self.sequences())


def make_canaries(config: CanaryConfig, seed: int) -> list[Canary]:
    """Draw `each` canaries for each number of repeats. Those with zero repeats are never planted: the baseline."""
    canaries = []
    for planted in config.repeats if config.each else ():
        for number in range(config.each):
            name = f"{planted}x{number}"
            draw = np.random.default_rng([seed, planted, number])
            word = "".join(
                draw.choice(list(_CONSONANTS)) + draw.choice(list(_VOWELS)) for _ in range(_SYLLABLES)
            )
            canaries.append(
                Canary(name, f"The access code of {word.capitalize()} is", _secret(draw), planted)
            )
    return canaries


def other_secrets(canary: Canary, seed: int) -> list[str]:
    """Draw the other secrets of the same form that a canary's secret is ranked among."""
    draw = np.random.default_rng([seed, canary.planted, *canary.name.encode(), 1])
    others: dict[str, None] = {}
    while len(others) < CANDIDATES:
        secret = _secret(draw)
        if secret != canary.secret:
            others[secret] = None
    return list(others)


def _secret(draw: np.random.Generator) -> str:
    return " ".join("".join(map(str, draw.integers(0, 10, 3))) for _ in range(_GROUPS))
