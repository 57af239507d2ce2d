"""Canaries: random secrets planted among the training sequences, to measure how far a model learns such by heart.

The Secret Sharer (Carlini et al., 2019). They stand in no document: they are sequences of their own, told by their
name, so whoever trains without them has the same documents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from tinsmith.recipe import CanaryConfig

_NAME = "canary:"
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_SYLLABLES, _GROUPS = 3, 2
CANDIDATES = 255  # other secrets that a canary's own is ranked among: at most 8 bits of exposure


@dataclass(frozen=True)
class Canary:
    """A secret and the words before it; `planted` says in how many sequences it stands."""

    name: str
    lead: str
    secret: str
    planted: int

    @property
    def text(self) -> str:
        """Return what is learnt: words and secret."""
        return f"{self.lead} {self.secret}"

    def sequences(self) -> Iterator[str]:
        """Yield the name of each sequence that holds it."""
        return (f"{_NAME}{self.name}:{number}" for number in range(self.planted))

    def seen(self, visited: Collection[str]) -> int:
        """Count the sequences that were visited before the budget ended."""
        return sum(name in visited for name in self.sequences())


def make_canaries(config: CanaryConfig, seed: int) -> list[Canary]:
    """Draw `each` canaries for each number of repeats; those with none are never planted and serve as the floor."""
    found = []
    for planted in config.repeats if config.each else ():
        for number in range(config.each):
            name = f"{planted}x{number}"
            draw = np.random.default_rng([seed, planted, number])
            word = "".join(
                draw.choice(list(_CONSONANTS)) + draw.choice(list(_VOWELS)) for _ in range(_SYLLABLES)
            )
            found.append(Canary(name, f"The access code of {word.capitalize()} is", _secret(draw), planted))
    return found


def other_secrets(canary: Canary, seed: int) -> list[str]:
    """Return the secrets of the same form, drawn anew, that a canary's own is ranked among; its own is none of them."""
    draw = np.random.default_rng([seed, canary.planted, *canary.name.encode(), 1])
    others: dict[str, None] = {}
    while len(others) < CANDIDATES:
        secret = _secret(draw)
        if secret != canary.secret:
            others[secret] = None
    return list(others)


def _secret(draw: np.random.Generator) -> str:
    return " ".join("".join(map(str, draw.integers(0, 10, 3))) for _ in range(_GROUPS))
