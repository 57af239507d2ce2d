from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tinsmith.tokens.batches import Batches, make_batch, pack
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tiny_training import write_tokens

hypothesis = pytest.importorskip("hypothesis", reason="the extra tinsmith[dev] is not installed")
st = pytest.importorskip("hypothesis.strategies")


def steps_of_epoch(batches: Batches) -> int:
    """Count the steps until every token was seen once."""
    seen = step = 0
    while seen < batches.tokens.tokens:
        seen += batches.step_tokens(step)
        step += 1
    return step


def test_targets_are_the_marked_successors() -> None:
    ids = np.array([5, 6, 7, 8], dtype=np.uint32)
    batch = make_batch([(ids, np.array([1, 1, 0, 1], np.uint8)), (ids[:2] + 10, np.array([1, 1], np.uint8))])
    assert batch.ids.tolist() == [[5, 6, 7, 8, 15, 16]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1]]
    assert batch.lengths == (4, 2)
    assert (batch.target_positions.tolist(), batch.labels.tolist()) == ([0, 2, 4], [6, 8, 16])


def test_an_epoch_holds_every_token_once_openings_first(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path)
    batches = Batches(tokens, batch_tokens=200, micro_rows=1, seed=3)
    steps = steps_of_epoch(batches)
    for epoch in range(3):
        parts: list[bytes] = []
        orders: list[int] = []
        for step in range(epoch * steps, (epoch + 1) * steps):
            made = batches.step(step)
            assert sum(batch.ids.shape[1] for batch in made) == batches.step_tokens(step) <= 200
            assert max(batch.ids.shape[1] for batch in made) <= tokens.context
            parts += [part.numpy().tobytes() for batch in made for part in batch.ids[0].split(batch.lengths)]
            orders += [int(tokens.orders[number]) for number in batches._groups(step)]
        whole = [tokens.sequence(n)[0].astype(np.int64).tobytes() for n in range(len(tokens))]
        assert sorted(parts) == sorted(whole)
        assert orders == sorted(orders)


def test_steps_depend_on_seed_and_number_alone(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path)

    def ids(seed: int, step: int) -> list[int]:
        batches = Batches(tokens, batch_tokens=200, micro_rows=2, seed=seed)
        return torch.cat([batch.ids[0] for batch in batches.step(step)]).tolist()

    later = steps_of_epoch(Batches(tokens, batch_tokens=200, micro_rows=2, seed=3)) + 1
    straight = Batches(tokens, batch_tokens=200, micro_rows=2, seed=3)
    for step in range(later):
        straight.step(step)
    assert ids(3, later) == torch.cat([batch.ids[0] for batch in straight.step(later)]).tolist()
    assert ids(3, later) != ids(4, later)
    assert ids(3, later) != ids(3, 1)


@hypothesis.given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 50))
def test_packing_loses_nothing_and_repeats_nothing(lengths: list[int], limit: int) -> None:
    groups = pack(lengths, limit)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or sum(lengths[index] for index in group) <= limit


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    st.lists(st.integers(2, 8), min_size=1, max_size=12),
    st.sampled_from([1, 2]),
    st.integers(1, 60),
    st.integers(0, 3),
)
def test_every_epoch_visits_each_sequence_once(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], group: int, batch_tokens: int, seed: int
) -> None:
    lengths = lengths[: max(group, len(lengths) // group * group)] * (group if len(lengths) < group else 1)
    directory = tmp_path_factory.mktemp("tokens")
    writer = ShardWriter(directory)
    for number, length in enumerate(lengths):
        writer.add(f"d{number // group}", 0, [100 * number + i for i in range(length)], [1] * length)
    facts = {"context": 16, "vocabulary": 1200, "group": group}
    writer.close(range(len(lengths)), facts)
    batches = Batches(TokenSet(directory), batch_tokens=batch_tokens, micro_rows=1, seed=seed)
    step = 0
    for _ in range(3):
        visited: list[int] = []
        while len(visited) < len(lengths):
            for batch in batches.step(step):
                visited += batch.numbers
                assert batch.ids.shape[1] <= 16
                starts = np.cumsum([0, *batch.lengths])[:-1]
                assert batch.ids[0, starts].tolist() == [100 * number for number in batch.numbers]
                # Every token but a sequence's first is predicted from the one before it.
                assert torch.equal(batch.labels, batch.ids[0, batch.target_positions] + 1)
                assert len(batch.labels) == batch.ids.shape[1] - len(batch.lengths)
                assert [number // group for number in batch.numbers[::group]] == [
                    number // group for number in batch.numbers[group - 1 :: group]
                ]
            step += 1
        assert sorted(visited) == list(range(len(lengths)))


def test_packing_fills_rows_and_keeps_their_limit() -> None:
    lengths = np.random.default_rng(0).integers(50, 513, size=400)
    groups = pack(lengths, 512)
    loads = [int(lengths[group].sum()) for group in groups]
    assert sorted(place for group in groups for place in group) == list(range(400))
    assert max(loads) <= 512
    assert sum(loads) / (512 * len(loads)) > 0.9


def test_a_sequence_longer_than_a_step_is_a_step(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path)
    batches = Batches(tokens, batch_tokens=1, micro_rows=1, seed=0)
    assert [len(batches.step(step)) for step in range(3)] == [1, 1, 1]
    assert steps_of_epoch(batches) == len(tokens)
