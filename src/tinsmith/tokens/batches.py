"""Exact batches of token sequences: a pure function of the seed and the step, so any step can be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinsmith.tokens.shards import TokenSet


@dataclass(frozen=True)
class Part:
    """Tokens `start` to `stop` of the sequence `number` of a batch, behind the part `prefix`, or none (-1)."""

    number: int
    start: int
    stop: int
    prefix: int = -1


@dataclass(frozen=True)
class Groups:
    """Sequences, by number, that are read together; `lengths` (N,) are the tokens that reading a group takes."""

    members: Sequence[tuple[int, ...]]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Sequences laid end to end in one row of T tokens, without padding.

    `ids` and `positions` are (1, T); positions restart with each of the sequences, whose lengths are `lengths`.
    `target_positions` (S,) are the tokens whose successor is a target, `labels` (S,) those successors. `numbers` are
    the sequences' numbers in their token set. Sequences of one group, such as a preference pair, are adjacent.
    Where sequences share beginnings, the row holds `parts` of them (`tokens/shared_prefixes.py`).
    """

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    target_positions: Tensor
    labels: Tensor
    numbers: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on a device."""
        ids, positions, target_positions, labels = (
            tensor.to(device) for tensor in (self.ids, self.positions, self.target_positions, self.labels)
        )
        return Batch(ids, positions, self.lengths, target_positions, labels, self.numbers, self.parts)


def make_batch(
    sequences: Sequence[tuple[NDArray[np.uint32], NDArray[np.uint8]]], numbers: tuple[int, ...] = ()
) -> Batch:
    """Lay sequences (ids, target marks) end to end. A sequence's first token is never a target."""
    ids = torch.from_numpy(np.concatenate([ids for ids, _ in sequences]).astype(np.int64))
    lengths = tuple(len(ids) for ids, _ in sequences)
    marks = np.concatenate([np.concatenate([[0], marks[1:]]) for _, marks in sequences])
    targets = torch.from_numpy(np.flatnonzero(marks))
    positions = torch.cat([torch.arange(length) for length in lengths])
    return Batch(ids[None], positions[None], lengths, targets - 1, ids[targets], numbers)


class Batches:
    """The training steps over a token set, epoch after epoch.

    A step takes groups of sequences in visiting order up to `batch_tokens`; an epoch's last step takes the rest.
    Epochs after the first shuffle the documents again; the first parts of documents still come first.
    """

    def __init__(
        self, tokens: TokenSet, *, batch_tokens: int, micro_rows: int, seed: int, groups: Groups | None = None
    ) -> None:
        """Take the groups of the token set itself, unless others are given. 0 rows: one, until others are chosen."""
        self.tokens, self.seed = tokens, seed
        self.batch_tokens, self.micro_tokens = batch_tokens, max(1, micro_rows) * tokens.context
        self.groups = groups or _even_groups(tokens)
        self._lengths = self.groups.lengths
        self._epochs: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = []

    @property
    def longest(self) -> int:
        """Return the tokens of the longest group of sequences, which a step never divides."""
        return int(self._lengths.max())

    @property
    def epoch_tokens(self) -> int:
        """Return the tokens of an epoch."""
        return int(self._lengths.sum())

    def step_tokens(self, step: int) -> int:
        """Return the number of tokens in a step."""
        return int(self._lengths[self._groups(step)].sum())

    def step(self, step: int) -> list[Batch]:
        """Return the step's micro-batches, each of at most `micro_rows` times `context` tokens."""
        groups = self._groups(step)
        return [
            self.batch([int(groups[index]) for index in indices])
            for indices in pack(self._lengths[groups], self.micro_tokens)
        ]

    def numbers(self, step: int) -> tuple[int, ...]:
        """Return the numbers of the sequences that a step reads."""
        return self._members(self._groups(step).tolist())

    def batch(self, groups: Sequence[int]) -> Batch:
        """Return the sequences of some groups as one batch."""
        numbers = self._members(groups)
        return make_batch([self.tokens.sequence(number) for number in numbers], numbers)

    def _members(self, groups: Sequence[int]) -> tuple[int, ...]:
        return tuple(member for group in groups for member in self.groups.members[group])

    def _groups(self, step: int) -> NDArray[np.int64]:
        while not self._epochs or step >= self._epochs[-1][0] + len(self._epochs[-1][2]) - 1:
            self._add_epoch()
        first, order, cuts = next(epoch for epoch in reversed(self._epochs) if step >= epoch[0])
        return order[cuts[step - first] : cuts[step - first + 1]]

    def _add_epoch(self) -> None:
        order = np.arange(len(self._lengths))
        if self._epochs:
            shuffled = np.random.default_rng([self.seed, len(self._epochs)]).permutation(len(order))
            firsts = [members[0] for members in self.groups.members]
            order = np.lexsort((shuffled, self.tokens.orders[firsts]))
        first = self._epochs[-1][0] + len(self._epochs[-1][2]) - 1 if self._epochs else 0
        self._epochs.append((first, order, _cuts(self._lengths[order], self.batch_tokens)))


def _even_groups(tokens: TokenSet) -> Groups:
    size = tokens.group
    starts = range(0, len(tokens.lengths), size)
    members = [tuple(range(start, start + size)) for start in starts]
    return Groups(members, tokens.lengths.reshape(-1, size).sum(axis=1))


def pack(lengths: Sequence[int] | NDArray[np.int64], limit: int) -> list[list[int]]:
    """Divide sequences into groups of at most `limit` tokens by first-fit decreasing; return their indices.

    A sequence that is itself longer than the limit is a group of its own.
    """
    longest_first = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    groups: list[list[int]] = []
    loads: list[int] = []
    for index in longest_first:
        length = int(lengths[index])
        group = next((number for number, load in enumerate(loads) if load + length <= limit), len(groups))
        if group == len(groups):
            groups.append([])
            loads.append(0)
        groups[group].append(index)
        loads[group] += length
    return [sorted(group) for group in groups]


def _cuts(lengths: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return where steps begin, and the end. Each step holds as many sequences as fit `limit`, at least one."""
    ends = np.cumsum(lengths)
    cuts = [0]
    while cuts[-1] < len(lengths):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, before + limit, side="right"))))
    return np.array(cuts)
