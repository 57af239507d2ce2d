"""Labels as paths of tokens: where they part, a model chooses; the choices give each label a probability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinsmith.base.errors import RecipeError
from tinsmith.jobs.prompt import answer_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Branches that the model reaches less often are not read: their labels share what is left.
LEAST_REACH = 1e-3


@dataclass(frozen=True)
class Branch:
    """A place where labels part: the tokens that lead to it from the prompt, and the tokens that may follow."""

    prefix: tuple[int, ...]
    tokens: tuple[int, ...]


class LabelTree:
    """The labels of a job as paths of tokens. Every path ends in a line end, so no label is the start of another.

    A label's probability is the product of the choices on its path, each among the tokens that may follow there. So
    the probabilities of all labels sum to 1, and no other answer is possible. Branches are in the order of `branches`:
    the root first.
    """

    def __init__(self, paths: Mapping[str, Sequence[int]]) -> None:
        """Take the token ids of each label. Raises RecipeError where two labels have the same tokens."""
        self.paths = {label: tuple(path) for label, path in paths.items()}
        twice = len(self.paths) - len(set(self.paths.values()))
        if twice:
            raise RecipeError(
                f"{twice} labels are written with the same tokens as another",
                where="jobs.labels",
                next_step="rename them, so that each reads differently",
            )
        following: dict[tuple[int, ...], dict[int, None]] = {}
        for path in self.paths.values():
            for place in range(len(path)):
                following.setdefault(path[:place], {})[path[place]] = None
        parting = {prefix: tuple(tokens) for prefix, tokens in following.items() if len(tokens) > 1}
        self.branches = [Branch(prefix, parting[prefix]) for prefix in sorted(parting, key=len)]
        # By label: the branches on its path, and which of their tokens it takes.
        self.choices = {
            label: tuple(
                (number, branch.tokens.index(path[len(branch.prefix)]))
                for number, branch in enumerate(self.branches)
                if path[: len(branch.prefix)] == branch.prefix and len(path) > len(branch.prefix)
            )
            for label, path in self.paths.items()
        }
        # By branch: the branches before it on the way there, and which of their tokens lead there.
        self.steps = [
            [
                (number, before.tokens.index(branch.prefix[len(before.prefix)]))
                for number, before in enumerate(self.branches)
                if len(before.prefix) < len(branch.prefix)
                and branch.prefix[: len(before.prefix)] == before.prefix
            ]
            for branch in self.branches
        ]

    def is_reached(self, number: int, known: Mapping[int, Sequence[float]]) -> bool:
        """Say whether a branch is likely enough to be read, from the logits of those before it."""
        steps = self.steps[number]
        return all(before in known for before, _ in steps) and (
            math.fsum(_log_softmax(known[before])[place] for before, place in steps) >= math.log(LEAST_REACH)
        )

    def from_known(self, known: Mapping[int, Sequence[float]]) -> dict[str, float]:
        """Return ln p of each label from the logits of the branches that were read; elsewhere all tokens are alike."""
        return self.log_probabilities(
            [known.get(number, [0.0] * len(branch.tokens)) for number, branch in enumerate(self.branches)]
        )

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, labels: Sequence[str]) -> LabelTree:
        """Return the tree of labels as a tokenizer writes answers."""
        return cls({label: answer_ids(tokenizer, label) for label in labels})

    def log_probabilities(self, logits: Sequence[Sequence[float]]) -> dict[str, float]:
        """Return ln p of each label from the logits (or log-probabilities) of each branch's tokens, in order."""
        normal = [_log_softmax(values) for values in logits]
        return {
            label: math.fsum(normal[number][place] for number, place in choices)
            for label, choices in self.choices.items()
        }


def _log_softmax(values: Sequence[float]) -> list[float]:
    highest = max(values)
    total = highest + math.log(math.fsum(math.exp(value - highest) for value in values))
    return [value - total for value in values]
