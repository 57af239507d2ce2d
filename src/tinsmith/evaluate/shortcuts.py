"""Controls that answer an exam without understanding: by the length of the choices, by shared words, unread.

What they answer rightly beyond chance an item gives away by its form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tinsmith.evaluate.baselines import NgramModel, draw_training
from tinsmith.evaluate.items import Item, likeliest

LENGTH, OVERLAP, UNREAD = "length", "overlap", "unread"
_NEAR = 400  # characters before the answer whose words are compared
_WORD = re.compile(r"\w+")


def by_length(items: Sequence[Item]) -> list[str]:
    """Answer with the longest choice, or always with the shortest where that is right more often."""
    return _better(items, lambda item, choice: len(choice))


def by_overlap(items: Sequence[Item]) -> list[str]:
    """Answer with the choice that shares most of its words with the text before it, or always least."""

    return _better(items, lambda item, choice: shared_words(item.text, choice))


def shared_words(text: str, choice: str) -> float:
    """Return the share of a choice's words that stand in the text's end."""
    known, words = set(_words(text[-_NEAR:])), _words(choice)
    return sum(word in known for word in words) / max(1, len(words))


def unread(items: Sequence[Item], training: Sequence[str], *, seed: int) -> list[str]:
    """Answer with the choice that a byte n-gram model of the training text likes best, the document unread."""
    model = NgramModel(draw_training(training, seed=seed))
    answers = []
    for item in items:
        scores = {choice: -model.bits(item.continuation(choice)) for choice in item.choices}
        answers.append(likeliest(item, scores))
    return answers


def _better(items: Sequence[Item], rank: Callable[[Item, str], float]) -> list[str]:
    """Return the answers of the direction that is right more often: the control shall be as strong as can be."""
    most, least = [], []
    for item in items:
        ranked = sorted((rank(item, choice), choice) for choice in item.choices)
        most.append(ranked[-1][1])
        least.append(ranked[0][1])

    def right(answers: list[str]) -> int:
        return sum(answer == item.answer for answer, item in zip(answers, items, strict=True))

    return max(most, least, key=right)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
