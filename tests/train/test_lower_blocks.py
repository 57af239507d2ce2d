"""Frozen lower blocks: their states from disk give the same gradients as reading through them, and they never move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from small_models import tiny_model
from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import SilentProgress
from tinsmith.model.blocks import blocks_of
from tinsmith.tokens.batches import Batches, make_batch
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.lower_blocks import LowerStates, freeze_lower
from tiny_training import document, write_tokens

FAMILIES = ["llama", "gpt2", "bloom", "gemma2", "gemma3"]


def gradients(model, states: LowerStates, tokens, batch) -> dict[str, torch.Tensor]:
    model.zero_grad()
    states.target_hidden(model, batch, tokens).square().sum().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_states_from_disk_give_the_gradients_of_reading_through_frozen_blocks(
    family: str, tmp_path: Path
) -> None:
    model = tiny_model(family, size=360)
    isolate_sequences(model)
    count = freeze_lower(model, 0.5)
    assert count == 1
    whole = write_tokens(tmp_path / "tokens", documents=9)
    part = whole.subset([7, 2, 5])
    batch = Batches(part, batch_tokens=500, micro_rows=8, seed=1).step(0)[0]
    states = LowerStates(whole, count, tmp_path / "cache")
    through = gradients(model, states, part, batch)
    states.fill(model, SilentProgress())
    assert (tmp_path / "cache" / "states.bin").stat().st_size == 4 * 64 * whole.tokens
    with torch.no_grad():  # with states from disk, the frozen block is not asked
        for weight in blocks_of(model)[1][0].parameters():
            weight.zero_()
    cached = gradients(model, states, part, batch)
    assert cached.keys() == through.keys()
    for name, gradient in through.items():
        torch.testing.assert_close(cached[name], gradient, rtol=1e-4, atol=5e-5)
    prefix = blocks_of(model)[0]
    assert all(f"{prefix}.0." not in name and "emb" not in name and "wte" not in name for name in through)
    assert any(f"{prefix}.1." in name for name in through)


def test_states_of_sequences_that_share_a_beginning_are_those_of_each_alone(tmp_path: Path) -> None:
    model = tiny_model(size=360)
    isolate_sequences(model)
    text = document(1, 40)
    sequences = [[*text, *document(2, 7)], document(3, 20), [*text, *document(4, 5)]]
    (tmp_path / "tokens").mkdir()
    writer = ShardWriter(tmp_path / "tokens")
    for number, ids in enumerate(sequences):
        writer.add(str(number), 0, ids, [0] * (len(ids) - 1) + [1], "")
    writer.close([2, 0, 1], {"context": 64, "vocabulary": 360})
    tokens = TokenSet(tmp_path / "tokens")
    states = LowerStates(tokens, freeze_lower(model, 0.5), tmp_path / "cache")
    read: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda *call: read.append(call[1][0].numel()))
    states.fill(model, SilentProgress())
    assert 40 + 7 + 20 + 5 in read
    kept = np.fromfile(tmp_path / "cache" / "states.bin", dtype="<f4").reshape(-1, 64)
    for number in range(len(tokens.lengths)):
        ids, marks = tokens.sequence(number)
        alone = states._compute(model.eval(), make_batch([(ids, marks)])).numpy()
        start = int(tokens.offsets[number])
        np.testing.assert_allclose(kept[start : start + len(ids)], alone, rtol=1e-4, atol=1e-5)


def test_what_sequences_share_counts_once_where_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinsmith.train.lower_blocks._TOKENS_AT_ONCE", 100)
    model, read = tiny_model(size=360), []
    isolate_sequences(model)
    text = document(1, 40)
    (tmp_path / "tokens").mkdir()
    writer = ShardWriter(tmp_path / "tokens")
    for number in range(8):
        ids = [*text, 200 + number, 201 + number]
        writer.add(str(number), 0, ids, [0] * (len(ids) - 1) + [1])
    writer.close(range(8), {"context": 64, "vocabulary": 360})
    states = LowerStates(TokenSet(tmp_path / "tokens"), freeze_lower(model, 0.5), tmp_path / "cache")
    model.get_input_embeddings().register_forward_hook(lambda *call: read.append(call[1][0].numel()))
    states.fill(model, SilentProgress())
    assert max(read) == len(text) + 8 * 2  # all in one batch, their text once
    assert len([tokens for tokens in read if tokens > 2]) == 1


def test_states_of_another_model_are_refused(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens", documents=3)
    for seed in range(2):
        model = tiny_model(size=360, seed=seed)
        isolate_sequences(model)
        states = LowerStates(tokens, freeze_lower(model, 0.5), tmp_path / "cache")
        if seed:
            with pytest.raises(TrainingError, match="model differ"):
                states.fill(model, SilentProgress())
        else:
            states.fill(model, SilentProgress())


def test_a_large_set_is_read_through_the_frozen_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinsmith.train.lower_blocks.MOST_BYTES", 1000)
    tokens, model = write_tokens(tmp_path / "tokens", documents=3), tiny_model(size=360)
    isolate_sequences(model)
    states = LowerStates(tokens, freeze_lower(model, 0.5), tmp_path / "cache")
    states.fill(model, SilentProgress())
    assert not (tmp_path / "cache").exists()
    batch = Batches(tokens, batch_tokens=500, micro_rows=8, seed=1).step(0)[0]
    assert len(states.target_hidden(model, batch, tokens)) == len(batch.labels)
