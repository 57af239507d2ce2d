"""What training is trusted for: the same gradient however it is computed, and nothing lost on the way to it."""

from __future__ import annotations

import errno
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

import tinsmith.train.checkpoint as checkpoint
import tinsmith.train.chunked_loss as chunked
from small_vocabulary import TEXT, write_bpe
from tinsmith.base.errors import RunError, TrainingError
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.model import lora
from tinsmith.model.output_layer import output_layer
from tinsmith.recipe import ModelConfig, TokenizeConfig
from tinsmith.stages.tokenize import Settings
from tinsmith.stages.tokenize.run import tokenize
from tinsmith.tokens.batches import Batch, make_batch
from tinsmith.tokens.encoding import encode
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.attention import last_hidden
from tinsmith.train.dry_run import saved_bytes
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit
from tiny_training import (
    VOCABULARY,
    config,
    make_batches,
    make_engine,
    tiny_llama,
    weights_equal,
    write_tokens,
)

Documents = list[tuple[Tensor, Tensor]]  # ids and labels (-100 where there is no target), from shard to model


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    return write_tokens(tmp_path_factory.mktemp("tokens"))


def first_step(tokens: TokenSet) -> Documents:
    """Return the documents of step 0, made without our batches."""
    found, room = [], 256
    for number in range(len(tokens)):
        ids, marks = tokens.sequence(number)
        if len(ids) > room:
            return found
        room -= len(ids)
        labels = np.where(marks == 1, ids.astype(np.int64), -100)
        found.append((torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(labels)))
    raise AssertionError("the set is smaller than a step")


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the plain cross-entropy of logits (T, V), each for the next of labels (T,)."""
    return cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum")


def one_by_one(model: LlamaForCausalLM, documents: Documents) -> Tensor:
    return sum(
        (summed_loss(model(ids[None]).logits[0], labels) for ids, labels in documents), torch.zeros(())
    )


def padded(model: LlamaForCausalLM, documents: Documents) -> Tensor:
    longest = max(len(ids) for ids, _ in documents)

    def pad(row: Tensor, value: int) -> Tensor:
        return torch.nn.functional.pad(row, (0, longest - len(row)), value=value)

    ids = torch.stack([pad(ids, 2) for ids, _ in documents])
    mask = torch.stack([pad(torch.ones_like(ids), 0) for ids, _ in documents])
    labels = torch.stack([pad(labels, -100) for _, labels in documents])
    logits = model(ids, attention_mask=mask).logits
    return sum((summed_loss(*row) for row in zip(logits, labels, strict=True)), torch.zeros(()))


@pytest.fixture(scope="module", params=[one_by_one, padded])
def reference(request: pytest.FixtureRequest, tokens: TokenSet) -> tuple[float, list[Tensor]]:
    """Return the loss and gradients of step 0 by plain transformers, document by document and in a padded batch."""
    forward: Callable[[LlamaForCausalLM, Documents], Tensor] = request.param
    model, documents = tiny_llama(), first_step(tokens)
    loss = forward(model, documents) / sum(int((labels[1:] >= 0).sum()) for _, labels in documents)
    return float(loss.detach()), list(torch.autograd.grad(loss, list(model.parameters())))


def assert_same(engine: Engine, reference: tuple[float, list[Tensor]]) -> None:
    facts = engine.gradients(0)
    assert facts["loss"] == pytest.approx(reference[0], rel=2e-6)
    gradients = [parameter.grad for parameter in engine.model.parameters()]
    largest = max(float(gradient.abs().max()) for gradient in reference[1])
    for gradient, wanted in zip(gradients, reference[1], strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6 * largest)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("rows_of_logits", [7, 10**6], ids=["chunked", "whole"])
@pytest.mark.parametrize("micro_rows", [1, 2, 4])
def test_loss_and_gradients_are_those_of_plain_transformers(
    tokens: TokenSet,
    reference: tuple[float, list[Tensor]],
    monkeypatch: pytest.MonkeyPatch,
    micro_rows: int,
    rows_of_logits: int,
    checkpointing: bool,
) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_OF_CROSS_ENTROPY", rows_of_logits * VOCABULARY)
    section = config(micro_rows=micro_rows, activation_checkpointing=checkpointing, clip_norm=1e9)
    engine = make_engine(tokens, section)
    assert len(engine.mixture.components[0].batches.step(0)) == 4 // micro_rows
    assert_same(engine, reference)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_compiled_and_eager_are_the_same(tokens: TokenSet, tmp_path: Path) -> None:
    engines, logs = {}, {}
    for choice in ("off", "on"):
        section = config("2 steps", compile=choice, micro_rows=2, clip_norm=1e9)
        engines[choice] = make_engine(tokens, section)
        fit(engines[choice], out=tmp_path / choice, progress=SilentProgress())
        logs[choice] = [row["loss"] for row in read_jsonl(tmp_path / choice / "log.jsonl")]
        engines[choice].model.load_state_dict(tiny_llama().state_dict())
    assert logs["on"] == pytest.approx(logs["off"], rel=1e-5)
    assert not weights_equal(engines["on"].model, tiny_llama(1))
    model, documents = tiny_llama(), first_step(tokens)
    loss = padded(model, documents) / sum(int((labels[1:] >= 0).sum()) for _, labels in documents)
    assert_same(
        engines["on"], (float(loss.detach()), list(torch.autograd.grad(loss, list(model.parameters()))))
    )


@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_a_compiled_model_learns_in_bfloat16_too(tokens: TokenSet, tmp_path: Path, trainable: str) -> None:
    """A compiler that kept the first converted weights would compute with them for ever."""
    logs = {}
    for choice in ("off", "on"):
        section = config("6 steps", compile=choice, micro_rows=2, precision="bfloat16", trainable=trainable)
        model = tiny_llama()
        if trainable == "lora":
            lora.add(model, section.lora, seed=0)
        engine = make_engine(tokens, section, model)
        fit(engine, out=tmp_path / choice, progress=SilentProgress())
        logs[choice] = [row["loss"] for row in read_jsonl(tmp_path / choice / "log.jsonl")]
        # The compiler is left again without a trace.
        engine.compute_in("bfloat16", compiled=False)
        plain = engine.loss(0)
        assert plain == pytest.approx(engine.loss(0), rel=1e-6)
    assert logs["on"] == pytest.approx(logs["off"], rel=5e-3)
    assert logs["on"][-1] < logs["on"][0] - 0.01


def test_activation_checkpointing_keeps_less_for_the_way_back(tokens: TokenSet) -> None:
    batch = make_batches(tokens, config(micro_rows=4)).step(0)[0]
    kept, recomputed = (
        saved_bytes(make_engine(tokens, config(activation_checkpointing=choice)), batch)
        for choice in (False, True)
    )
    # One state a layer is left, beside what the ends of the model need.
    assert recomputed < 0.25 * kept


def losses_by_token(engine: Engine, batch: Batch) -> Tensor:
    with torch.no_grad():
        hidden = last_hidden(engine.model, batch)[0, batch.target_positions]
        return cross_entropy(output_layer(engine.model).logits(hidden), batch.labels, reduction="none")


def test_changing_a_document_leaves_its_neighbours_losses_bit_for_bit(tokens: TokenSet) -> None:
    engine, generator = make_engine(tokens, config()), np.random.default_rng(1)

    def document(length: int) -> tuple[np.ndarray, np.ndarray]:
        return generator.integers(3, VOCABULARY, length).astype(np.uint32), np.ones(length, np.uint8)

    row = [document(length) for length in (17, 30, 9, 40)]
    before = losses_by_token(engine, make_batch(row))
    ends = np.cumsum([0, *(len(ids) - 1 for ids, _ in row)])
    for changed in range(len(row)):
        other = [
            document(len(ids)) if place == changed else (ids, marks) for place, (ids, marks) in enumerate(row)
        ]
        after = losses_by_token(engine, make_batch(other))
        for place in range(len(row)):
            part = slice(ends[place], ends[place + 1])
            assert torch.equal(before[part], after[part]) == (place != changed)


def test_a_document_longer_than_the_context_is_trained_whole(tmp_path: Path) -> None:
    write_bpe(tmp_path / "v.gguf")
    texts = [TEXT * 3, "A short one, but of more than two tokens.", TEXT * 7]
    rows = [
        {"doc_id": f"d{number}", "text": text, "meta": json.dumps({}), "part": "train"}
        for number, text in enumerate(texts)
    ]
    (tmp_path / "refine").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "refine" / "documents.parquet")
    (tmp_path / "tokens").mkdir()
    tokenize(
        TokenizeConfig(context=64),
        settings=Settings(ModelConfig(base=str(tmp_path / "v.gguf")), (), 50, "next_token", 0),
        inputs={"refine": tmp_path / "refine"},
        seed=7,
        out=tmp_path / "tokens",
        progress=SilentProgress(),
    )
    tokens, tokenizer = TokenSet(tmp_path / "tokens"), load_tokenizer(tmp_path / "v.gguf")
    model = tiny_llama()
    model.resize_token_embeddings(max(len(tokenizer), VOCABULARY))
    section = config("1 epochs", batch_tokens=200)
    fit(make_engine(tokens, section, model), out=tmp_path / "out", progress=SilentProgress())
    log = list(read_jsonl(tmp_path / "out" / "log.jsonl"))
    # Before and behind each document stands one token that parts it from others.
    wanted = [len(encode(tokenizer, text)) + 2 for text in texts]
    assert max(wanted) > 3 * 64
    assert sum(row["tokens"] for row in log) == sum(wanted)
    assert sum(row["supervised"] for row in log) == sum(wanted) - len(tokens)
    assert len(tokens) == sum(-(-count // 64) for count in wanted)


def test_a_full_disk_and_a_cut_checkpoint_cost_steps_and_no_bit(
    tokens: TokenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, said = config("8 steps", checkpoint_seconds=1e-9), list[str]()
    plain = make_engine(tokens, section)
    fit(plain, out=tmp_path / "plain", progress=SilentProgress())
    write, calls = checkpoint.save_file, itertools.count()

    def full(*arguments: Any) -> None:
        if next(calls) > 8:
            Path(arguments[1]).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match=r"(?s)No space left on device.*free disk space, then build again"):
        fit(make_engine(tokens, section), out=tmp_path / "out", progress=SilentProgress())
    monkeypatch.undo()
    newest = max((tmp_path / "out" / "checkpoints").glob("step-*"))
    (newest / "weights.safetensors").write_bytes((newest / "weights.safetensors").read_bytes()[:-5])
    progress, resumed = SilentProgress(), make_engine(tokens, section)
    monkeypatch.setattr(progress, "say", said.append)
    fit(resumed, out=tmp_path / "out", progress=progress)
    assert any(f"checkpoint {newest.name} is damaged" in line for line in said)
    assert weights_equal(resumed.model, plain.model)


@pytest.mark.parametrize("name", ["tokens.bin", "supervised.bin", "sequences.jsonl"])
def test_a_truncated_shard_is_an_error(tmp_path: Path, name: str) -> None:
    write_tokens(tmp_path)
    data = (tmp_path / name).read_bytes()
    end = data.rstrip(b"\n").rindex(b"\n") + 1 if name.endswith("jsonl") else len(data) - 3
    (tmp_path / name).write_bytes(data[:end])
    with pytest.raises(TrainingError, match=r"(?s)do not match their index.*build again"):
        TokenSet(tmp_path)


def test_tokens_without_a_target_are_an_error(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path)
    writer.add("d0", 0, [5, 6, 7], [0, 0, 0])
    writer.close([0], {"context": 64, "vocabulary": VOCABULARY})
    with pytest.raises(TrainingError, match="no token is a target"):
        TokenSet(tmp_path)
