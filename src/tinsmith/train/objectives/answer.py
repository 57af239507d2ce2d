"""Answers of a job: the choice of a label among the others, or the tokens of an answer.

`recipe/objectives.py` does not list it: the stage *learn* makes it of a job, and no recipe names it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tinsmith.base.progress import Progress
from tinsmith.jobs.answer_set import AnswerSet
from tinsmith.jobs.labels import LabelTree
from tinsmith.model.output_layer import output_layer
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.train.attention import target_hidden
from tinsmith.train.chunked_loss import chunked_cross_entropy
from tinsmith.train.lower_blocks import LowerStates
from tinsmith.train.objectives.next_token import NextToken


@dataclass(frozen=True)
class Reading:
    """What the model held of an example just before it learnt from it: p of its label, and the label that it chose."""

    probability: float
    guess: str
    guess_probability: float


class Choices:
    """The branches of a label tree as tensors: logits are computed of the tokens at branches only."""

    def __init__(self, tree: LabelTree) -> None:
        self.tree = tree
        self.tokens = sorted({token for branch in tree.branches for token in branch.tokens})
        column = {token: place for place, token in enumerate(self.tokens)}
        self.columns = [[column[token] for token in branch.tokens] for branch in tree.branches]
        allowed = torch.zeros(len(tree.branches), len(self.tokens), dtype=torch.bool)
        for number, columns in enumerate(self.columns):
            allowed[number, columns] = True
        self._allowed = allowed
        self._first: dict[tuple[int, int], str] = {}
        for label, choices in tree.choices.items():
            for branch, taken in choices:
                self._first.setdefault((branch, self.columns[branch][taken]), label)

    def log_probs(self, model: PreTrainedModel, hidden: Tensor, branches: Sequence[int]) -> Tensor:
        """Return ln p (S, tokens) of hidden states (S, H) at some branches; -inf for tokens that lead to no label.

        These few products are in float32, since bfloat16 rounds logits to sixteenths.
        """
        columns = torch.tensor(self.tokens, device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            logits = output_layer(model).rows(columns).float().logits(hidden)
        allowed = self._allowed[list(branches)].to(hidden.device)
        return logits.masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)

    def taken(self, labels: Sequence[str]) -> tuple[list[int], list[int], list[int]]:
        """Return for each choice on the paths of labels the label's place, the branch, and the column taken."""
        rows = [
            (place, branch, self.columns[branch][taken])
            for place, label in enumerate(labels)
            for branch, taken in self.tree.choices[label]
        ]
        owners, branches, columns = zip(*rows, strict=True)
        return list(owners), list(branches), list(columns)

    def read(self, labels: Sequence[str], log_probs: Tensor) -> list[Reading]:
        """Return what a model holds of labels, from its ln p (S, tokens) at the choices on their paths.

        Where it turns away from a label's path, its guess is the first label that begins with its choice.
        """
        best = log_probs.max(dim=1)
        rows = zip(*self.taken(labels), best.indices.tolist(), best.values.tolist(), strict=True)
        totals, guesses = [0.0] * len(labels), dict[int, tuple[str, float]]()
        values = log_probs.tolist()
        for place, (owner, branch, column, choice, highest) in enumerate(rows):
            if choice != column and owner not in guesses:
                guesses[owner] = self._first[branch, choice], math.exp(totals[owner] + highest)
            totals[owner] += values[place][column]
        sure = [math.exp(total) for total in totals]
        return [
            Reading(sure[owner], *guesses.get(owner, (label, sure[owner])))
            for owner, label in enumerate(labels)
        ]


class Answer(NextToken):
    """Cross-entropy of answers in nats: of a label, one example at a time, over the tokens at branches alone.

    A label that `choices` scores counts as one target however many tokens it has. Other answers are learnt token by
    token. `readings` holds, by number of the sequence, what the model held of the label when it was last read.
    """

    shares_prefixes = True

    def __init__(self, answers: AnswerSet, choices: Choices | None, lower: LowerStates | None) -> None:
        self._answers, self._choices, self._lower = answers, choices, lower
        self.readings: dict[int, Reading] = {}

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Compute the states of the frozen blocks once, in a place that all runs of a job share."""
        if self._lower:
            self._lower.fill(model, progress)

    @property
    def has_frozen(self) -> bool:
        """Say whether lower blocks are frozen."""
        return self._lower is not None

    def num_targets(self, batch: Batch) -> int:
        """Count the examples, or the tokens of answers."""
        return len(batch.numbers) if self._choices else len(batch.labels)

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the summed cross-entropy."""
        hidden = self.hidden(model, batch)
        if self._choices is None:
            return chunked_cross_entropy(hidden, output_layer(model), batch.labels), {}
        labels = [self._answers.asks[number].answer or "" for number in batch.numbers]
        _, branches, columns = self._choices.taken(labels)
        log_probs = self._choices.log_probs(model, hidden, branches)
        taken = log_probs[range(len(columns)), columns]
        self.readings |= dict(zip(batch.numbers, self._choices.read(labels, log_probs.detach()), strict=True))
        return -taken.sum(), {}

    def hidden(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Return the last hidden states (S, H) that predict the targets."""
        if self._lower:
            return self._lower.target_hidden(model, batch, self._answers.tokens)
        return target_hidden(model, batch, share=True)
