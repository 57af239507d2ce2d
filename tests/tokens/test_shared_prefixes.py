"""Sequences that begin alike: what they share stands once in the row, and every target keeps its place."""

from __future__ import annotations

import numpy as np

from tinsmith.tokens.batches import Batch, make_batch
from tinsmith.tokens.shared_prefixes import LEAST_SHARED, share_prefixes, shared_length

TEXT = list(range(100, 130))


def batch_of(*sequences: tuple[list[int], int]) -> Batch:
    """Make a batch of ids, the last so many of which are targets."""
    made = [
        (np.array(ids, np.uint32), np.array([0] * (len(ids) - targets) + [1] * targets, np.uint8))
        for ids, targets in sequences
    ]
    return make_batch(made, tuple(range(50, 50 + len(made))))


def read_back(batch: Batch) -> list[tuple[int, list[int]]]:
    """Return each part's own tokens behind those that it continues, by the number of its sequence."""
    pieces = [piece.tolist() for piece in batch.ids[0].split(batch.lengths)]
    return [
        (part.number, (pieces[part.prefix] if part.prefix >= 0 else []) + piece)
        for part, piece in zip(batch.parts, pieces, strict=True)
    ]


def test_what_is_shared_stands_once() -> None:
    one, two, other = [*TEXT, 1, 2, 3], [*TEXT, 4, 5], [9] * 20
    batch = batch_of((one, 2), (other, 1), (two, 1))
    shared = share_prefixes(batch)
    assert (
        shared.ids.shape[1]
        == len(TEXT) + 3 + 2 + 20
        == shared_length([np.array(s) for s in (one, other, two)])
    )
    back = dict(read_back(shared))
    assert back == {0: one, 1: other, 2: two}
    assert shared.numbers == batch.numbers
    # Targets are in the order of the batch, each one's token follows the position that predicts it.
    assert shared.labels.tolist() == batch.labels.tolist() == [2, 3, 9, 5]
    assert shared.ids[0, shared.target_positions].tolist() == batch.ids[0, batch.target_positions].tolist()
    assert shared.positions[0, shared.target_positions].tolist() == [30, 31, 18, 30]


def test_a_target_right_behind_what_is_shared_is_predicted_by_it() -> None:
    batch = batch_of(([*TEXT, 1], 1), ([*TEXT, 2], 1))
    shared = share_prefixes(batch)
    assert shared.target_positions.tolist() == [len(TEXT) - 1] * 2
    assert shared.labels.tolist() == [1, 2]


def test_equal_sequences_keep_a_token_of_their_own() -> None:
    shared = share_prefixes(batch_of((TEXT, 1), (TEXT, 1), ([*TEXT, 7], 1)))
    assert list(shared.lengths) == [29, 1, 1, 2]
    assert {number for number, ids in read_back(shared) if ids[: len(TEXT)] == TEXT} == {0, 1, 2}


def test_little_or_nothing_in_common_is_left_as_it_is() -> None:
    short = TEXT[: LEAST_SHARED - 1]
    batch = batch_of(([*short, 1], 1), ([*short, 2], 1), ([5, 6, 7], 1))
    assert share_prefixes(batch) is batch


def test_those_who_share_more_are_not_held_to_what_all_share() -> None:
    start = TEXT[:LEAST_SHARED]
    first, second = [*start, *range(200, 260)], [*start, *range(300, 360)]
    shared = share_prefixes(
        batch_of(([*first, 1], 1), ([*second, 1], 1), ([*first, 2], 1), ([*second, 2], 1))
    )
    assert shared.ids.shape[1] == len(first) + len(second) + 4
