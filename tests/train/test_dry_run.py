from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import tinsmith.train.dry_run as dry_run
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.tokens.batches import Batch, Groups, make_batch
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.dry_run import fit_into_memory, largest_batch, saved_bytes
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit
from tinsmith.train.memory import available_bytes, is_out_of_memory
from tinsmith.train.mixture import MixtureComponent
from tiny_training import config, make_batches, make_engine, tiny_llama, weights_equal, write_tokens


class Told(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    return write_tokens(tmp_path_factory.mktemp("tokens"))


def limit_tokens(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let a micro-batch of more than so many tokens run out of memory."""
    whole = Engine._backward

    def limited(self: Engine, part: MixtureComponent, batch: Batch, scale: float) -> dict[str, float]:
        if batch.ids.shape[1] > most:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {batch.ids.shape[1]} tokens")
        return whole(self, part, batch, scale)

    monkeypatch.setattr(Engine, "_backward", limited)


def test_no_step_has_a_bigger_micro_batch_than_the_dry_run(tokens: TokenSet) -> None:
    for rows, batch_tokens in ((1, 256), (3, 256), (8, 200), (1, 30)):
        batches = make_batches(tokens, config(micro_rows=rows, batch_tokens=batch_tokens))
        largest = largest_batch(batches)
        steps = [batch for step in range(40) for batch in batches.step(step)]
        # Later epochs may pack a token or two more into a row than the first does.
        assert largest.ids.shape[1] >= 0.98 * max(batch.ids.shape[1] for batch in steps)
        assert largest.ids.shape[1] <= max(min(rows * 64, batch_tokens), int(tokens.lengths.max()))
        assert len(set(largest.numbers)) == len(largest.numbers) == len(largest.lengths)


def test_what_does_not_fit_is_halved_and_stays_so_with_the_same_gradients(
    tokens: TokenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, told = config("3 steps", micro_rows=4, checkpoint_seconds=1e-9), Told()
    roomy, tight = make_engine(tokens, section), make_engine(tokens, section)
    fit(roomy, out=tmp_path / "roomy", progress=Told())
    limit_tokens(monkeypatch, 100)
    with pytest.raises(torch.OutOfMemoryError):
        make_engine(tokens, section).gradients(0)
    fit(tight, out=tmp_path / "tight", progress=told)
    lines = [line for line in told.lines if "do not fit into memory (CUDA out of memory: " in line]
    assert [line.split("; ")[1] for line in lines] == [
        f"trying {tokens} in more passes, which leaves the step's size unchanged" for tokens in (127, 63)
    ]
    assert tight.mixture.components[0].batches.micro_tokens <= 100
    assert read_json(tmp_path / "tight" / "checkpoints" / "settings.json")["micro_tokens"] == {
        "next_token": tight.mixture.components[0].batches.micro_tokens
    }
    for one, other in zip(roomy.model.parameters(), tight.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)
    figures = [
        [(row["tokens"], row["supervised"]) for row in read_jsonl(tmp_path / name / "log.jsonl")]
        for name in ("roomy", "tight")
    ]
    assert figures[0] == figures[1]
    # With memory to spare again, a resumed run still computes as it did, and tries nothing.
    monkeypatch.undo()
    longer = section.model_copy(update={"budget": "5 steps"})
    plain, resumed, told = make_engine(tokens, longer), make_engine(tokens, longer), Told()
    fit(resumed, out=tmp_path / "tight", progress=told)
    assert (
        resumed.mixture.components[0].batches.micro_tokens == tight.mixture.components[0].batches.micro_tokens
    )
    plain.mixture.components[0].batches.micro_tokens = resumed.mixture.components[0].batches.micro_tokens
    for step, row in enumerate(read_jsonl(tmp_path / "tight" / "log.jsonl")):
        plain.gradients(step)
        plain.update(row["learning_rate"])
    assert weights_equal(plain.model, resumed.model)


def test_where_sequences_count_less_than_their_length_the_search_ends(
    tokens: TokenSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    section = config("1 steps", micro_rows=1, batch_tokens=64)
    engine = make_engine(tokens, section)
    batches = engine.mixture.components[0].batches
    members = [tuple(range(start, start + 4)) for start in range(0, 40, 4)]
    batches.groups = Groups(members, np.full(10, 20))
    batches._lengths, batches.micro_tokens = batches.groups.lengths, 60
    limit_tokens(monkeypatch, 70)
    (tmp_path / "settings.json").write_text('{"micro_tokens": null}')
    with pytest.raises(TrainingError, match="the longest sequence"):
        fit_into_memory(engine, tmp_path / "settings.json", Told())


def test_where_not_even_one_sequence_fits_the_error_says_what_to_do(
    tokens: TokenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_tokens(monkeypatch, 60)
    engine = make_engine(tokens, config(micro_rows=4))
    with pytest.raises(
        TrainingError, match=r"(?s)the longest sequence, 6\d tokens.*activation_checkpointing"
    ):
        fit(engine, out=tmp_path / "out", progress=Told())
    assert not (tmp_path / "out" / "log.jsonl").exists() or not list(
        read_jsonl(tmp_path / "out" / "log.jsonl")
    )


def test_memory_that_linux_would_only_promise_is_estimated(
    tokens: TokenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, told = config("1 steps", micro_rows=4), Told()
    engine = make_engine(tokens, section)
    kept = [saved_bytes(engine, sample_of(count)) for count in (16, 32, 64)]
    # What the forward pass keeps grows by the token, and a little faster for attention; some kilobytes for each.
    assert 1.9 < (kept[2] - kept[1]) / (kept[1] - kept[0]) < 2.5
    per_token = (kept[2] - kept[1]) / 32
    assert 2_000 < per_token < 20_000
    fixed = engine.optimizers.bytes_in_training()
    assert fixed == 4 * 3 * sum(parameter.numel() for parameter in engine.model.parameters())
    monkeypatch.setattr(dry_run, "available_bytes", lambda: fixed + int(per_token * 150))
    fit(engine, out=tmp_path / "out", progress=told)
    assert any("tokens at once do not fit" in line and "GiB are free" in line for line in told.lines)
    assert engine.mixture.components[0].batches.micro_tokens <= 150


def test_counting_what_is_kept_leaves_nothing_behind(tokens: TokenSet) -> None:
    """The graph once held its own outputs, and with them each model that was ever trained in the process."""
    engine = make_engine(tokens, config())
    weight = weakref.ref(engine.model.get_input_embeddings().weight)
    saved_bytes(engine, make_batch([(np.arange(16, dtype=np.uint32), np.ones(16, np.uint8))]))
    del engine
    gc.collect()
    assert weight() is None


def sample_of(tokens: int) -> Batch:
    ids = np.arange(3, 3 + tokens, dtype=np.uint32)
    return make_batch([(ids, np.ones(tokens, np.uint8))])


def test_the_dry_run_leaves_no_trace(tokens: TokenSet) -> None:
    engine = make_engine(tokens, config())
    assert dry_run._try(engine, engine.mixture.components[0], sample_of(20)) == ""
    assert weights_equal(engine.model, tiny_llama())
    assert all(parameter.grad is None for parameter in engine.model.parameters())
    assert engine.optimizers.state()[0] == {}


def test_optimisers_occupy_what_they_will_remember(tokens: TokenSet) -> None:
    for name in ("adamw", "muon"):
        engine = make_engine(tokens, config(optimizer=name))
        held = engine.optimizers.allocate_state()
        gradients = [parameter.grad for parameter in engine.model.parameters()]
        assert sum(each.nbytes for each in (*held, *gradients)) == engine.optimizers.bytes_in_training()
        engine.gradients(0)
        engine.update(1e-3)
        state = [tensor for key, tensor in engine.optimizers.state()[0].items() if not key.endswith(".step")]
        assert sum(tensor.nbytes for tensor in state) == sum(tensor.nbytes for tensor in held)


def test_out_of_memory_later_on_is_named(
    tokens: TokenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(tokens, config("2 steps"))
    monkeypatch.setattr(dry_run, "_try", lambda *_: "")
    limit_tokens(monkeypatch, 61)
    with pytest.raises(TrainingError, match=r"memory ran out at step 0 \(CUDA out of memory"):
        fit(engine, out=tmp_path / "out", progress=Told())


def test_failed_allocations_are_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("not enough memory"))


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    machine = available_bytes(tmp_path)
    assert machine > 0
    for name, text in (
        ("memory.max", "1000000\n"),
        ("memory.current", "400000\n"),
        ("memory.stat", "anon 1\ninactive_file 100000\n"),
    ):
        (tmp_path / name).write_text(text)
    assert available_bytes(tmp_path) == 700_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) > 700_000
