from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from plain_references import plain_logits
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import OBJECTIVES, ModelConfig
from tinsmith.tokens.shards import ShardWriter
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit
from tinsmith.train.mixture import count_reads, open_sets
from tinsmith.train.objectives import Setup, make_objective
from tinsmith.train.objectives.dpo import Dpo
from tinsmith.train.objectives.next_token import NextToken
from tiny_training import VOCABULARY, config, mixture_of, tiny_llama, weights_equal, write_pairs, write_tokens


@pytest.fixture(scope="module")
def tokenize(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "tokenize"
    write_tokens(directory, documents=16)
    write_pairs(directory / "dpo")
    return directory


MIXED = {"objective": {"next_token": 3, "dpo": 1}}


def test_each_objective_gets_its_tokens_and_its_share_of_a_step(tokenize: Path) -> None:
    one, other = mixture_of(config(**MIXED), tokenize).components
    assert (one.name, one.share, one.batches.batch_tokens) == ("next_token", 0.75, 192)
    assert (other.name, other.share, other.batches.batch_tokens) == ("dpo", 0.25, 64)
    assert isinstance(one.objective, NextToken)
    assert isinstance(other.objective, Dpo)
    assert (one.batches.tokens.group, other.batches.tokens.group) == (1, 2)


def test_a_missing_set_is_named(tokenize: Path) -> None:
    with pytest.raises(TrainingError, match="no tokens for the objective sft") as caught:
        open_sets(config(objective="sft"), tokenize)
    assert "tokenize.conversations" in str(caught.value)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_module(name: str) -> None:
    assert hasattr(import_module(f"tinsmith.train.objectives.{name}"), "create")


def test_an_unknown_objective_is_an_error(tokenize: Path) -> None:
    setup = Setup(config(), ModelConfig(), tokenize, SilentProgress())
    with pytest.raises(TrainingError, match=r"sense needs a row in recipe/objectives\.py and a module"):
        make_objective("sense", setup)


def test_a_row_without_a_module_is_an_error(tokenize: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "sense", OBJECTIVES["next_token"])
    with pytest.raises(TrainingError, match=r"a module train/objectives/sense\.py"):
        mixture_of(config(objective="sense"), tokenize)


class Stopped(Exception):
    pass


class StopsAt(SilentProgress):
    """Raise when so many steps are done."""

    def __init__(self, step: int) -> None:
        self.left = step

    def task(self, what: str, total: float | None, unit: str):
        @contextmanager
        def counted():
            def advance(amount: float) -> None:
                self.left -= what == "training"
                if not self.left:
                    raise Stopped

            yield advance

        return counted()


def trained(tokenize: Path, out: Path, stops: tuple[int, ...] = ()) -> Engine:
    out.mkdir(exist_ok=True)
    section = config("8 steps", checkpoint_seconds=1e-6, **MIXED)
    for step in stops:
        engine = Engine(tiny_llama(), section, mixture_of(section, tokenize), seed=7)
        with pytest.raises(Stopped):
            fit(engine, out=out, progress=StopsAt(step))
    engine = Engine(tiny_llama(), section, mixture_of(section, tokenize), seed=7)
    fit(engine, out=out, progress=SilentProgress())
    return engine


def test_a_mixture_with_preferences_goes_on_bit_for_bit(tokenize: Path, tmp_path: Path) -> None:
    plain = trained(tokenize, tmp_path / "plain")
    stopped = trained(tokenize, tmp_path / "stopped", (3, 2))
    assert weights_equal(plain.model, stopped.model)
    rows, others = (list(read_jsonl(tmp_path / name / "log.jsonl")) for name in ("plain", "stopped"))
    assert [row["loss"] for row in rows] == [row["loss"] for row in others]
    assert [row["step"] for row in others] == list(range(8))
    # Nothing is preferred at first; the reference is the start's, however late a run goes on.
    assert rows[0]["loss_dpo"] == pytest.approx(np.log(2), rel=1e-4)
    assert rows[0]["loss"] == pytest.approx(0.75 * rows[0]["loss_next_token"] + 0.25 * rows[0]["loss_dpo"])
    assert rows[-1]["loss_dpo"] < rows[0]["loss_dpo"]
    assert "margin" in rows[0]
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert rows[-1]["accuracy"] > 0


def test_what_each_objective_read_follows_from_the_log_of_a_run_that_was_stopped(
    tokenize: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tokenize, tmp_path / "run", (3, 2))
    log = list(read_jsonl(tmp_path / "run" / "log.jsonl"))
    section, read = config("8 steps", **MIXED), {"NextToken": Counter(), "Dpo": Counter()}
    for objective in (NextToken, Dpo):
        plain = objective.loss

        def noted(self, model, batch, plain=plain):
            read[type(self).__name__].update(batch.numbers)
            return plain(self, model, batch)

        monkeypatch.setattr(objective, "loss", noted)
    engine = Engine(tiny_llama(), section, mixture_of(section, tokenize), seed=7)
    engine.prepare(tmp_path / "cache", SilentProgress())
    read["NextToken"].clear()
    read["Dpo"].clear()
    for step in range(8):
        engine.gradients(step)
    sets = open_sets(section, tokenize)
    assert count_reads(section, sets, log, seed=7) == {"next_token": read["NextToken"], "dpo": read["Dpo"]}
    # Some are read more than once; and a step that was skipped, or had no rate, teaches nothing.
    assert max(read["NextToken"].values()) > 1
    assert count_reads(section, sets, log[:3], seed=7) != count_reads(section, sets, log, seed=7)
    still = [row | {"learning_rate": row["learning_rate"] * (row["step"] < 3)} for row in log]
    assert count_reads(section, sets, still, seed=7) == count_reads(section, sets, log[:3], seed=7)


def test_only_answers_are_learnt_from_in_conversations(tmp_path: Path) -> None:
    (tmp_path / "sft").mkdir()
    writer = ShardWriter(tmp_path / "sft")
    # A question of three tokens, an answer of two and its end; then a question again and one token of an answer.
    ids = [[1, 10, 11, 12, 20, 21, 2, 13, 14, 22], [1, 15, 23, 24, 2]]
    marks = [[0, 0, 0, 0, 1, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1]]
    for number, (row, marked) in enumerate(zip(ids, marks, strict=True)):
        writer.add(f"c{number}", 0, row, marked)
    writer.close([0, 1], {"context": 32, "vocabulary": VOCABULARY})
    engine = Engine(
        tiny_llama(), config(objective="sft"), mixture_of(config(objective="sft"), tmp_path), seed=7
    )
    facts = engine.gradients(0)
    model = tiny_llama()
    model.get_input_embeddings().padding_idx = (
        None  # the stop, which is also the padding, is learnt as input too
    )
    log_probs = [logits.log_softmax(1) for logits in plain_logits(model, ids)]
    by_hand = [(0, 3, 20), (0, 4, 21), (0, 5, 2), (0, 8, 22), (1, 1, 23), (1, 2, 24), (1, 3, 2)]
    loss = -sum(log_probs[row][place, token] for row, place, token in by_hand) / 7
    assert facts["supervised"] == 7
    assert facts["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    loss.backward()
    for mine, theirs in zip(engine.model.parameters(), model.parameters(), strict=True):
        # Ours are clipped to a norm of one.
        expected = theirs.grad / max(1.0, facts["grad_norm"])
        torch.testing.assert_close(mine.grad, expected, rtol=1e-3, atol=1e-6)
