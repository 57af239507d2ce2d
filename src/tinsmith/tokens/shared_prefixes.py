"""Lay sequences that begin alike so that what they share is read once: several questions about one text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from tinsmith.tokens.batches import Batch, Part

LEAST_SHARED = 16  # tokens; to share fewer costs more than it saves

_Ids = NDArray[np.int64] | NDArray[np.uint32]


def share_prefixes(batch: Batch) -> Batch:
    """Return a batch whose sequences begin with what they share, each such part once, followed by their own parts.

    `lengths` are then those of its `parts`, `positions` count on from the shared part. Targets keep their order; one
    within a shared part stays there. A batch in which nothing is shared, or which has parts, is returned as it is.
    """
    if batch.parts:
        return batch
    sequences = [ids.numpy() for ids in batch.ids[0].cpu().split(batch.lengths)]
    groups = alike_groups(sequences)
    if all(length == 0 for _, length in groups):
        return batch
    parts: list[Part] = []
    place = np.zeros(batch.ids.shape[1], dtype=np.int64)  # of each token, in the new row
    starts, end = np.cumsum([0, *batch.lengths]), 0
    for members, length in groups:
        prefix = -1
        if length:
            prefix = len(parts)
            parts.append(Part(members[0], 0, length))
            for number in members:
                place[starts[number] : starts[number] + length] = np.arange(end, end + length)
            end += length
        for number in members:
            own = batch.lengths[number] - length
            parts.append(Part(number, length, batch.lengths[number], prefix))
            place[starts[number] + length : starts[number + 1]] = np.arange(end, end + own)
            end += own
    ids = np.concatenate([sequences[part.number][part.start : part.stop] for part in parts])
    positions = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    device = batch.ids.device
    return replace(
        batch,
        ids=torch.from_numpy(ids)[None].to(device),
        positions=torch.from_numpy(positions)[None].to(device),
        lengths=tuple(part.stop - part.start for part in parts),
        target_positions=torch.from_numpy(place[batch.target_positions.cpu().numpy()]).to(device),
        parts=tuple(parts),
    )


def shared_length(sequences: Sequence[_Ids]) -> int:
    """Return the tokens of sequences when those that begin alike share their beginnings."""
    return sum(map(len, sequences)) - sum(
        length * (len(members) - 1) for members, length in alike_groups(sequences)
    )


def alike_groups(sequences: Sequence[_Ids]) -> list[tuple[list[int], int]]:
    """Divide sequences, by number, into groups that begin alike, with the tokens that all of a group share."""
    order = sorted(range(len(sequences)), key=lambda number: sequences[number].tolist())
    groups: list[tuple[list[int], int]] = []
    for number in order:
        if groups:
            members, length = groups[-1]
            # At least one token of each sequence stays its own.
            alike = shared_beginning(sequences[members[-1]], sequences[number])
            alike = min(alike, len(sequences[members[-1]]) - 1, len(sequences[number]) - 1)
            if alike >= max(LEAST_SHARED, length // 2):
                groups[-1] = ([*members, number], min(alike, length) if length else alike)
                continue
        groups.append(([number], 0))
    return groups


def shared_beginning(one: _Ids, other: _Ids) -> int:
    """Return how many tokens two sequences share at their beginnings."""
    most = min(len(one), len(other))
    differ = np.flatnonzero(one[:most] != other[:most])
    return int(differ[0]) if len(differ) else most
