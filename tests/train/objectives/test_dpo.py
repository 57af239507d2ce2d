from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import tinsmith.train.chunked_loss as chunked
from plain_references import (
    as_double,
    assert_same,
    gradients_of,
    ours,
    plain_logits,
    sharp_gemma2,
    sharp_llama,
)
from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import DpoConfig
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives.dpo import Dpo
from tiny_training import VOCABULARY, config, make_batches, tiny_llama, write_pairs, write_tokens

BETA = 0.3


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_AT_ONCE", 9 * VOCABULARY)


def prepared(batches: Batches, cache: Path, model=None) -> Dpo:
    objective = Dpo(DpoConfig(beta=BETA))
    objective.prepare(model or sharp_llama(1), batches, cache, SilentProgress())
    return objective


def plain_log_probs(model, tokens: TokenSet, batch: Batch) -> Tensor:
    """Add up the float64 ln p of the marked tokens, sequence by sequence."""
    sums = []
    for number in batch.numbers:
        ids, marks = (torch.from_numpy(np.array(each, dtype=np.int64)) for each in tokens.sequence(number))
        log_probs = plain_logits(model, [ids.tolist()])[0].log_softmax(1)
        sums.append(sum(log_probs[place - 1, ids[place]] for place in range(1, len(ids)) if marks[place]))
    return torch.stack(sums)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_margin_is_zero_before_the_first_step(pairs: TokenSet, tmp_path: Path, precision: str) -> None:
    section = config("1 steps", micro_rows=4, precision=precision)
    part = MixtureComponent("dpo", Dpo(DpoConfig()), make_batches(pairs, section))
    engine = Engine(sharp_llama(0), section, Mixture([part]), seed=7)
    (row,) = fit(engine, out=tmp_path, progress=SilentProgress())
    assert row["margin"] == pytest.approx(0, abs=1e-6)
    assert row["loss"] == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("capped", [False, True])
def test_loss_and_gradients_are_the_plain_ones(pairs: TokenSet, tmp_path: Path, capped: bool) -> None:
    batches = make_batches(pairs, config(micro_rows=4))
    policy = sharp_gemma2(0) if capped else sharp_llama(0, bias=True)
    start = sharp_gemma2(1) if capped else sharp_llama(1)
    double, reference = as_double(policy), as_double(start)
    objective = prepared(batches, tmp_path, start)
    for batch in batches.step(0):
        loss, gradients, figures = ours(objective, policy, batch)
        mine = plain_log_probs(double, pairs, batch)
        with torch.no_grad():
            before = plain_log_probs(reference, pairs, batch)
        chosen, rejected = (mine - before)[0::2], (mine - before)[1::2]
        margins = BETA * (chosen - rejected)
        plain = -torch.log(1 / (1 + torch.exp(-margins))).sum()
        assert_same((loss, gradients), plain, double)
        assert figures["margin"] == pytest.approx(float(margins.detach().sum()), rel=1e-4)
        assert figures["accuracy"] == float((margins > 0).sum())
        assert objective.num_targets(batch) == len(margins)


def test_at_the_start_no_answer_is_preferred(pairs: TokenSet, tmp_path: Path) -> None:
    batches, model = make_batches(pairs, config(micro_rows=4)), sharp_llama(1)
    objective, batch = prepared(batches, tmp_path), make_batches(pairs, config()).step(0)[0]
    loss, _, figures = ours(objective, model, batch)
    assert loss == pytest.approx(objective.num_targets(batch) * np.log(2), rel=1e-5)
    assert figures["margin"] == pytest.approx(0, abs=1e-4)


def test_a_step_does_not_depend_on_its_micro_batches(pairs: TokenSet, tmp_path: Path) -> None:
    found, counts = [], []
    for rows in (1, 4):
        model, batches = sharp_llama(0), make_batches(pairs, config(micro_rows=rows))
        objective = prepared(batches, tmp_path)
        isolate_sequences(model)
        steps = batches.step(0)
        counts.append(len(steps))
        found.append(gradients_of(sum(objective.loss(model, batch)[0] for batch in steps), model))
    assert counts[0] > counts[1]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_reference_is_the_model_without_dropout_which_stays_in_training(
    pairs: TokenSet, tmp_path: Path
) -> None:
    model, batches = tiny_llama(), make_batches(pairs, config())
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model.train()
    prepared(batches, tmp_path / "one", model)
    assert model.training
    model.config.attention_dropout = 0.0
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.0
    prepared(batches, tmp_path / "two", model)
    one, two = (np.fromfile(tmp_path / name / "log_probs.bin") for name in ("one", "two"))
    assert np.array_equal(one, two)
    assert len(one) == len(pairs)


def test_a_cut_reference_goes_on_and_ends_with_the_same_bytes(pairs: TokenSet, tmp_path: Path) -> None:
    batches = make_batches(pairs, config())
    prepared(batches, tmp_path / "one")
    whole = (tmp_path / "one" / "log_probs.bin").read_bytes()
    shutil.copytree(tmp_path / "one", tmp_path / "cut")
    (tmp_path / "cut" / "log_probs.bin").write_bytes(whole[: len(whole) // 2 + 3])
    prepared(batches, tmp_path / "cut")
    assert (tmp_path / "cut" / "log_probs.bin").read_bytes() == whole


def test_a_reference_of_another_model_or_other_pairs_is_refused(pairs: TokenSet, tmp_path: Path) -> None:
    prepared(make_batches(pairs, config()), tmp_path / "cache")
    with pytest.raises(TrainingError, match="another run: model differ"):
        prepared(make_batches(pairs, config()), tmp_path / "cache", sharp_llama(2))
    others = write_pairs(tmp_path / "others", count=5)
    with pytest.raises(TrainingError, match="another run: tokens differ"):
        prepared(make_batches(others, config()), tmp_path / "cache")


def test_sets_without_pairs_and_answers_without_tokens_are_refused(tmp_path: Path) -> None:
    single = write_tokens(tmp_path / "single", documents=4)
    with pytest.raises(TrainingError, match="does not hold pairs"):
        prepared(make_batches(single, config()), tmp_path / "cache")
    hollow = write_pairs(tmp_path / "hollow", count=3, empty=3)
    with pytest.raises(TrainingError, match="the rejected answer of pair 1 has no token to learn"):
        prepared(make_batches(hollow, config()), tmp_path / "cache")
