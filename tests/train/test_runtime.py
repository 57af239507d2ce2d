"""How steps are computed is chosen by timing real ones, told, kept, and looked at once more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import tinsmith.train.dry_run as dry_run
import tinsmith.train.runtime as runtime
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.model import lora
from tinsmith.tokens.batches import Batch
from tinsmith.train.budget import Decision
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit, replay
from tinsmith.train.mixture import MixtureComponent
from tiny_training import Told, config, make_engine, run, tiny_llama, weights_equal, write_tokens


def test_auto_precision_takes_the_faster_says_so_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, section = write_tokens(tmp_path / "tokens"), config("2 steps", precision="auto")
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: True)
    for faster, slower in (("bfloat16", "float32"), ("float32", "bfloat16")):
        pace = {faster: 1.0, slower: 4.0}
        monkeypatch.setattr(
            Engine, "time_microbatch", lambda self, part, batch, precision, pace=pace: pace[precision]
        )
        told = Told()
        engine = run(tokens, tmp_path / faster, section, told)
        assert engine.precision == faster
        assert f"precision: {faster} (measured" in told.lines[0]
    monkeypatch.undo()
    # What was decided stays decided, whatever would be measured now.
    assert run(tokens, tmp_path / "bfloat16", config("4 steps", precision="auto")).precision == "bfloat16"


def test_precision_is_measured_on_a_whole_micro_batch_with_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batch] = []
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(
        Engine, "time_microbatch", lambda self, part, batch, precision: seen.append(batch) or 1.0
    )
    section = config("1 steps", precision="auto", micro_rows=4, batch_tokens=256)
    engine = run(write_tokens(tmp_path / "tokens"), tmp_path / "out", section)
    whole = engine.mixture.components[0].batches.step(0)[0]
    assert len(whole.lengths) > 1
    assert torch.equal(seen[0].ids, whole.ids)
    assert torch.equal(seen[0].labels, whole.labels)
    # Where memory is short, the first tokens keep their own targets.
    part = runtime._first_tokens(whole, whole.lengths[0] + 3)
    assert part.lengths == (whole.lengths[0], 3)
    kept = whole.target_positions < part.ids.shape[1] - 1
    assert torch.equal(part.labels, whole.labels[kept])
    assert torch.equal(part.target_positions, whole.target_positions[kept])


@pytest.mark.parametrize(("fastest", "rows"), [(64, 1), (128, 2), (256, 4)])
def test_on_a_time_budget_the_fastest_micro_batches_are_taken_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fastest: int, rows: int
) -> None:
    tokens = write_tokens(tmp_path / "tokens")

    def seconds(self: Engine, part: MixtureComponent, batch: Batch, precision: str) -> float:
        size = batch.ids.shape[1]
        return size * (1.0 if fastest / 2 < size <= fastest else 1.5)

    monkeypatch.setattr(Engine, "time_microbatch", seconds)
    section, told = config("1s", batch_tokens=256, micro_rows=0), Told()
    engine = run(tokens, tmp_path / "out", section, told)
    size = engine.mixture.components[0].batches.micro_tokens
    assert (
        size
        == rows * tokens.context
        == read_json(tmp_path / "out" / "runtime.json")["micro_tokens"]["next_token"]
    )
    assert any(f"micro-batches: up to {size} tokens (measured: 64 " in line for line in told.lines)
    # The result of a counted budget depends on inputs and seed alone.
    counted = run(tokens, tmp_path / "counted", config("2 steps", batch_tokens=256, micro_rows=0))
    assert counted.mixture.components[0].batches.micro_tokens == tokens.context


@pytest.mark.parametrize(
    ("trainable", "first", "later"), [("all", "float32", "bfloat16"), ("lora", "bfloat16", "float32")]
)
def test_a_slower_pace_than_measured_gives_the_other_precision_a_second_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainable: str, first: str, later: str
) -> None:
    """The first measurement is disturbed: the slower one looks faster. What is found later is kept and repeated."""
    tokens, looks = write_tokens(tmp_path / "tokens"), [0]
    monkeypatch.setattr(runtime, "_SECOND_LOOK", 4)  # so that a busy machine gets there within the seconds

    def seconds(self: Engine, part: MixtureComponent, batch: Batch, precision: str) -> float:
        looks[0] += 1
        disturbed = looks[0] <= 4
        return 1e-9 * batch.ids.shape[1] * (1.0 if (precision == first) == disturbed else 2.0)

    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(runtime, "memory_shortage", lambda engine, batch: "")
    monkeypatch.setattr(dry_run, "memory_shortage", lambda engine, batch: "")
    monkeypatch.setattr(Engine, "time_microbatch", seconds)
    told = Told()
    section = config("3s", precision="auto", micro_rows=1, trainable=trainable)
    models = tiny_llama(), tiny_llama()
    if trainable == "lora":
        for model in models:
            lora.add(model, section.lora, seed=0)
    engine = make_engine(tokens, section, models[0])
    fit(engine, out=tmp_path / "out", progress=told)
    facts = read_json(tmp_path / "out" / "runtime.json")
    assert (facts["precision"], facts["precision_later"], facts["changed_at"]) == (first, later, 4)
    assert any("tried again" in line and f"going on in {later}" in line for line in told.lines)
    assert engine.precision == later
    assert {"float32", "bfloat16", "float32 again", "bfloat16 again"} <= facts["measured"].keys()
    again = make_engine(tokens, section, models[1])
    decisions = [Decision(**row) for row in read_jsonl(tmp_path / "out" / "schedule.jsonl")]
    replay(again, decisions, runtime.RuntimeChoice(**facts))
    assert weights_equal(again.model, engine.model)


def test_auto_precision_measures_no_bfloat16_where_the_processor_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: False)
    told = Told()
    engine = run(
        write_tokens(tmp_path / "tokens"), tmp_path / "out", config("1 steps", precision="auto"), told
    )
    assert engine.precision == "float32"
    assert told.lines == ["  precision: float32 (this processor has no bfloat16 instructions)"]


def test_without_a_compiler_on_is_refused_and_auto_says_that_it_is_eager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(runtime, "_COMPILE_PAYS_SECONDS", 0.0)
    told, tokens = Told(), write_tokens(tmp_path / "tokens")
    with pytest.raises(TrainingError, match=r"train\.compile: .*no C\+\+ compiler(.|\n)*set it to auto"):
        run(tokens, tmp_path / "out", config("1 steps", compile="on"), told)
    assert not told.lines
    run(tokens, tmp_path / "out", config("1 steps", compile="auto"), told)
    assert "  eager mode: this machine has no C++ compiler" in told.lines
    assert runtime._obstacle_to_compiling(2) == "several processes train together"


@pytest.mark.parametrize(("gain", "chosen"), [(1.05, "float32"), (1.2, "bfloat16")])
def test_auto_rounds_only_where_that_is_a_tenth_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float, chosen: str
) -> None:
    engine = make_engine(write_tokens(tmp_path), config(precision="auto"))
    seconds = {"float32": 1.0, "bfloat16": 1 / gain}
    monkeypatch.setattr(engine, "time_microbatch", lambda component, sample, precision: seconds[precision])
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: True)
    component = engine.mixture.components[0]
    assert (
        runtime._choose_precision(engine, component, component.batches.step(0)[0], Told()).precision == chosen
    )


@pytest.mark.parametrize(("gain", "taken"), [(1.01, 1), (1.2, 2)])
def test_a_thread_for_each_that_the_processor_runs_is_taken_where_it_is_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float, taken: int
) -> None:
    """torch takes a thread for each core, and a processor may run two."""
    used = [1]
    monkeypatch.setattr(runtime, "usable_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: used[-1])
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    monkeypatch.setattr(Engine, "time_microbatch", lambda *_: 1.0 / (gain if used[-1] == 2 else 1.0))
    engine, told = make_engine(write_tokens(tmp_path), config("1s", micro_rows=1)), Told()
    assert runtime.choose_runtime(engine, tmp_path / "checkpoints", told).threads == used[-1] == taken
    assert any(line.startswith(f"  threads: {taken} (measured: 1 ") for line in told.lines)
    # A resumed run takes as many, and what a person has set is not tried.
    used.append(1)
    runtime.choose_runtime(engine, tmp_path / "checkpoints", told)
    assert used[-1] == taken
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    used.append(1)
    assert not runtime.choose_runtime(engine, tmp_path / "other", told).threads


@pytest.mark.parametrize(
    ("gain", "wanted", "compiled"), [(1.2, "auto", True), (1.0, "auto", False), (1.0, "on", True)]
)
def test_a_compiled_model_is_kept_where_it_is_faster_or_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float, wanted: str, compiled: bool
) -> None:
    monkeypatch.setattr(runtime, "_COMPILE_PAYS_SECONDS", 0.0)
    monkeypatch.setattr(runtime.shutil, "which", lambda name: "/usr/bin/c++")

    def seconds(self: Engine, *_: object) -> float:
        return 1.0 / (gain if self.model.base_model._compiled_call_impl else 1.0)

    monkeypatch.setattr(Engine, "time_microbatch", seconds)
    engine, told = make_engine(write_tokens(tmp_path), config("1 steps", compile=wanted)), Told()
    assert runtime.choose_runtime(engine, tmp_path / "checkpoints", told).compiled == compiled
    assert bool(engine.model.base_model._compiled_call_impl) == compiled
    assert any(
        line.startswith(f"  {'compiled' if compiled else 'eager'} (measured: eager ") for line in told.lines
    )


def test_auto_compiles_long_runs_only(tmp_path: Path) -> None:
    mixture = make_engine(write_tokens(tmp_path), config()).mixture
    chosen = [
        runtime._wants_compiling(config(budget, compile="auto"), mixture, 0.01)
        for budget in ("8m", "2h", "100 steps", "10000 steps", "100k tokens", "1M tokens", "1000 epochs")
    ]
    assert chosen == [False, True, False, True, False, True, True]


def test_a_budget_of_few_steps_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four steps of all weights at the full rate made a base worse."""
    tokens = write_tokens(tmp_path / "tokens")
    for seconds, few in ((0.25, True), (0.025, False)):
        monkeypatch.setattr(
            Engine,
            "time_microbatch",
            lambda self, part, batch, precision, s=seconds: s * batch.ids.shape[1] / 256,
        )
        told = Told()
        run(tokens, tmp_path / f"{seconds}", config("1s", micro_rows=1, batch_tokens=256), told)
        warned = [line for line in told.lines if "hold about 4 steps of 256 tokens here" in line]
        assert bool(warned) == few
        assert all("lower train.batch_tokens" in line and "'lora'" in line for line in warned)
