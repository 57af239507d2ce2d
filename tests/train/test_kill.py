"""kill -9 at random instants, also while a checkpoint is being written: the run ends with the same bits."""

from __future__ import annotations

import functools
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinsmith.base.files import read_jsonl
from tinsmith.recipe import TrainConfig
from tiny_training import config, train_in_process, write_tokens


def worker(tokens: list[Path], out: Path, section: TrainConfig) -> BaseProcess:
    # A server that has imported everything once forks each worker in a moment.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tinsmith.train.loop", "transformers.models.llama.modeling_llama"])
    arguments = ([str(each) for each in tokens], str(out), section.model_dump_json())
    process = context.Process(target=train_in_process, args=arguments)
    process.start()
    return process


def reached(log: Path, lines: int) -> bool:
    return log.exists() and log.read_bytes().count(b"\n") >= lines


def half_written(out: Path) -> list[Path]:
    return list((out / "checkpoints").glob(".step-*.partial"))


def one_more_than(before: set[Path], out: Path) -> bool:
    return not before.issuperset(half_written(out))


def kill_when(process: BaseProcess, is_time: Callable[[], bool], then_seconds: float) -> bool:
    """Kill a process when it is time, and a moment later; say whether that came before its end."""
    while process.is_alive() and not is_time():
        time.sleep(0.0005)
    time.sleep(then_seconds)
    process.kill()
    process.join(100)
    return process.exitcode == -signal.SIGKILL


def log_of(out: Path) -> list[dict[str, Any]]:
    return [row | {"seconds": 0, "loader_seconds": 0} for row in read_jsonl(out / "log.jsonl")]


@pytest.mark.parametrize(
    ("budget", "more"),
    [
        ("40 steps", {}),
        ("9k tokens", {"optimizer": "muon", "schedule": "cosine", "mixed": True}),
    ],
    ids=["one-set", "mixture-muon-cosine"],
)
def test_killed_runs_end_with_the_same_bits(
    tmp_path: Path, budget: str, more: dict[str, Any], at_length: Callable[[int, int], int]
) -> None:
    sets = [tmp_path / "tokens", tmp_path / "others"][: 2 if more.pop("mixed", False) else 1]
    for number, each in enumerate(sets):
        write_tokens(each, documents=40 - 15 * number)
    section = config(budget, checkpoint_seconds=0.02, **more)
    plain = worker(sets, tmp_path / "plain", section)
    plain.join(100)
    out, generator = tmp_path / "killed", np.random.default_rng(5)
    kills = writing = 0
    for target in sorted(generator.integers(2, 30, size=at_length(4, 20)).tolist()):
        started = worker(sets, out, section)
        has_come = functools.partial(reached, out / "log.jsonl", target)
        kills += kill_when(started, has_come, float(generator.uniform(0, 0.03)))
        if (out / "log.jsonl").exists():
            with (out / "log.jsonl").open("ab") as log:
                log.write(b'{"step": 4')  # as if the kill had come in the middle of a line
    for _ in range(at_length(6, 30)):
        is_writing = functools.partial(one_more_than, set(half_written(out)), out)
        started = worker(sets, out, section)
        kills += kill_when(started, is_writing, float(generator.uniform(0, 0.004)))
        writing += bool(half_written(out))
        if writing == at_length(2, 10):
            break
    assert kills >= 3
    assert writing, "no kill came while a checkpoint was being written"
    last = worker(sets, out, section)
    last.join(100)
    assert "resuming at step" in (out / "said.txt").read_text()
    assert (out / "final.safetensors").read_bytes() == (tmp_path / "plain" / "final.safetensors").read_bytes()
    assert log_of(out) == log_of(tmp_path / "plain")
