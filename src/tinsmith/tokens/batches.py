"""Exact batches of token sequences: a pure function of the seed and the step, so any step can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinsmith.tokens.shards import TokenSet


@dataclass(frozen=True)
class Batch:
    """Sequences laid end to end in one row of T tokens, without padding.

    `ids` and `positions` are (1, T), positions restart with each sequence; `lengths` are those of the sequences.
    `target_positions` (S,) are the tokens whose successor is a target, `labels` (S,) those successors. `numbers` are
    those of the sequences in their token set; sequences of one group, such as a preference pair, lie side by side.
    """

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    target_positions: Tensor
    labels: Tensor
    numbers: tuple[int, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on a device."""
        ids, positions, target_positions, labels = (
            tensor.to(device) for tensor in (self.ids, self.positions, self.target_positions, self.labels)
        )
        return Batch(ids, positions, self.lengths, target_positions, labels, self.numbers)


def make_batch(
    sequences: Sequence[tuple[NDArray[np.uint32], NDArray[np.uint8]]], numbers: tuple[int, ...] = ()
) -> Batch:
    """Lay sequences (ids, marks of targets) end to end. A sequence's first token is never a target."""
    ids = torch.from_numpy(np.concatenate([ids for ids, _ in sequences]).astype(np.int64))
    lengths = tuple(len(ids) for ids, _ in sequences)
    marks = np.concatenate([np.concatenate([[0], marks[1:]]) for _, marks in sequences])
    targets = torch.from_numpy(np.flatnonzero(marks))
    positions = torch.cat([torch.arange(length) for length in lengths])
    return Batch(ids[None], positions[None], lengths, targets - 1, ids[targets], numbers)


class Batches:
    """The steps of training over a token set, epoch after epoch.

    A step takes groups of sequences in order of visits until `batch_tokens` are full; an epoch's last step takes what
    is left. Epochs after the first shuffle the documents anew, openings still first.
    """

    def __init__(self, tokens: TokenSet, *, batch_tokens: int, micro_rows: int, seed: int) -> None:
        self.tokens, self.seed = tokens, seed
        self.batch_tokens, self.micro_tokens = batch_tokens, micro_rows * tokens.context
        self._lengths = tokens.lengths.reshape(-1, tokens.group).sum(axis=1)
        self._epochs: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = []

    @property
    def longest(self) -> int:
        """Count the tokens of the longest group of sequences, which a step takes whole."""
        return int(self._lengths.max())

    def step_tokens(self, step: int) -> int:
        """Count the tokens of a step."""
        return int(self._lengths[self._groups(step)].sum())

    def step(self, step: int) -> list[Batch]:
        """Return the step's micro-batches, each of at most `micro_rows` times `context` tokens."""
        groups = self._groups(step)
        return [
            self.batch([int(groups[place]) for place in places])
            for places in pack(self._lengths[groups], self.micro_tokens)
        ]

    def batch(self, groups: Sequence[int]) -> Batch:
        """Return the sequences of some groups, end to end."""
        size = self.tokens.group
        numbers = tuple(group * size + place for group in groups for place in range(size))
        return make_batch([self.tokens.sequence(number) for number in numbers], numbers)

    def _groups(self, step: int) -> NDArray[np.int64]:
        while not self._epochs or step >= self._epochs[-1][0] + len(self._epochs[-1][2]) - 1:
            self._add_epoch()
        for first, order, cuts in reversed(self._epochs):
            if step >= first:
                return order[cuts[step - first] : cuts[step - first + 1]]
        raise AssertionError(f"no step {step}")

    def _add_epoch(self) -> None:
        order = np.arange(len(self._lengths))
        if self._epochs:
            shuffled = np.random.default_rng([self.seed, len(self._epochs)]).permutation(len(order))
            order = np.lexsort((shuffled, self.tokens.orders[:: self.tokens.group]))
        first = self._epochs[-1][0] + len(self._epochs[-1][2]) - 1 if self._epochs else 0
        self._epochs.append((first, order, _cuts(self._lengths[order], self.batch_tokens)))


def pack(lengths: Sequence[int] | NDArray[np.int64], most: int) -> list[list[int]]:
    """Divide sequences among as few groups of at most `most` tokens as first-fit finds."""
    longest_first = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    groups: list[list[int]] = []
    loads: list[int] = []
    for place in longest_first:
        fitting = [number for number, load in enumerate(loads) if load + lengths[place] <= most]
        if not fitting:
            groups.append([])
            loads.append(0)
            fitting = [len(groups) - 1]
        groups[fitting[0]].append(place)
        loads[fitting[0]] += int(lengths[place])
    return [sorted(group) for group in groups]


def _cuts(lengths: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return where steps begin, and the end: each step holds as many sequences as fit into `most`, at least one."""
    ends = np.cumsum(lengths)
    cuts = [0]
    while cuts[-1] < len(lengths):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, before + most, side="right"))))
    return np.array(cuts)
