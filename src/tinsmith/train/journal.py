"""What a run writes while it trains: a whole row per step, per decision and per rollback."""

from __future__ import annotations

import json
import math
import signal
import statistics
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import fsync, write_jsonl
from tinsmith.train.budget import Decision, TrainProgress
from tinsmith.train.distributed import ALONE, Ranks
from tinsmith.train.loss_spikes import Rollback, is_skipped


class Journal:
    """Append rows to `log.jsonl` and `schedule.jsonl`; truncate both to the step that a run resumes at.

    `rollbacks.jsonl` is never truncated, since rollbacks affect all later steps.
    """

    def __init__(self, out: Path, ranks: Ranks = ALONE) -> None:
        """Open the journal in `out`. The main process reads and writes it; all processes have its rows."""
        self._ranks = ranks
        self._paths = {name: out / f"{name}.jsonl" for name in ("log", "schedule", "rollbacks")}
        self.rows: list[dict[str, Any]] = []
        self.rollbacks = [Rollback(**row) for row in ranks.broadcast(read_rows(self._paths["rollbacks"]))]

    def resume(self, done: TrainProgress, say: Callable[[str], None]) -> TrainProgress:
        """Keep the rows of the checkpoint's steps; return it with all seconds spent, discarded steps included.

        Raises TrainingError where rows are missing.
        """
        if self._ranks.is_main:
            self._truncate(done, say)
        self.rows = self._ranks.broadcast(self.rows)
        discarded = math.fsum(rollback.seconds for rollback in self.rollbacks)
        return replace(done, seconds=seconds_of(self.rows) + discarded)

    def _truncate(self, done: TrainProgress, say: Callable[[str], None]) -> None:
        rows = read_rows(self._paths["log"])
        self.rows = [row for row in rows if row["step"] < done.step]
        expected = [step for step in range(done.step) if not is_skipped(step, self.rollbacks)]
        if [row["step"] for row in self.rows] != expected:
            raise TrainingError(
                f"rows are missing: it should list each of the {done.step} steps before the checkpoint",
                where=str(self._paths["log"]),
                next_step="remove the stage's directory to train from the start",
            )
        decisions = [row for row in read_rows(self._paths["schedule"]) if row["step"] < done.step]
        write_jsonl(self._paths["log"], self.rows)
        if decisions or self._paths["schedule"].exists():
            write_jsonl(self._paths["schedule"], decisions)
        lost = seconds_of(rows[len(self.rows) :])
        if done.step or rows:
            say(f"  resuming at step {done.step}; {lost:.0f} s of work after the last checkpoint is repeated")

    def add(self, row: dict[str, Any], decision: Decision | None) -> None:
        """Append a step, and the decision before it if there is one."""
        if decision is not None:
            self._append("schedule", asdict(decision))
        self._append("log", row)
        self.rows.append(row)

    def go_back(self, rollback: Rollback) -> None:
        """Append a rollback, and flush it to disk."""
        self._append("rollbacks", asdict(rollback))
        self.rollbacks.append(rollback)
        self.flush()

    def flush(self) -> None:
        """Flush all rows to disk, so that no checkpoint is ahead of its log."""
        for path in self._paths.values():
            if self._ranks.is_main and path.exists():
                fsync(path)

    def _append(self, name: str, row: dict[str, Any]) -> None:
        if self._ranks.is_main:
            # One write: a crash leaves the line whole or cut off, and readers drop a cut line.
            with self._paths[name].open("ab") as file:
                file.write((json.dumps(row, allow_nan=False) + "\n").encode())


def seconds_of(rows: Sequence[dict[str, Any]]) -> float:
    """Add up the seconds spent in steps."""
    return math.fsum(row["seconds"] for row in rows)


def summarise(out: Path, set_tokens: Mapping[str, int]) -> dict[str, float]:
    """Return the statistics of the run in `out`: counts, rollbacks, and the mean loss of its first and last twentieth.

    `loader_share` is the share of the steps' seconds spent on making batches. `set_tokens` are the sizes of the
    objectives' token sets; several objectives also get `first_loss_NAME`, `final_loss_NAME` and `epochs_NAME`.
    """
    rows, rollbacks = read_rows(out / "log.jsonl"), read_rows(out / "rollbacks.jsonl")
    edge = max(1, len(rows) // 20)
    tokens, seconds = sum(row["tokens"] for row in rows), seconds_of(rows)
    skipped: dict[str, int] = {}
    for rollback in rollbacks:
        skipped |= rollback["skipped"]
    return {
        "steps": len(rows),
        "tokens": tokens,
        "supervised_tokens": sum(row["supervised"] for row in rows),
        "epochs": tokens / sum(set_tokens.values()),
        **_epochs(rows, set_tokens),
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "loader_share": math.fsum(row["loader_seconds"] for row in rows) / seconds,
        **_mean_losses("first", rows[:edge]),
        **_mean_losses("final", rows[-edge:]),
        "rollbacks": len(rollbacks),
        "skipped_steps": len(skipped),
        "skipped_tokens": sum(skipped.values()),
    }


def _epochs(rows: Sequence[dict[str, Any]], set_tokens: Mapping[str, int]) -> dict[str, float]:
    """Return how often each of several objectives read its token set."""
    if len(set_tokens) < 2:
        return {}
    read = {name: sum(row.get(f"tokens_{name}", 0) for row in rows) for name in set_tokens}
    return {f"epochs_{name}": read[name] / tokens for name, tokens in set_tokens.items()}


def _mean_losses(when: str, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    names = sorted({name for row in rows for name in row if name == "loss" or name.startswith("loss_")})
    # A step in which a component had no targets has no loss of it.
    return {f"{when}_{name}": statistics.fmean(row[name] for row in rows if name in row) for name in names}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the block is done: half-updated weights would belong to no step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, Any]] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    usual = {name: signal.signal(name, lambda *caught: held.append(caught)) for name in signals}
    try:
        yield
    finally:
        for name, handler in usual.items():
            signal.signal(name, handler)
        if held:
            _handle(*held[0], usual[signal.Signals(held[0][0])])


def _handle(number: int, frame: Any, handler: Any) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.raise_signal(number)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a journal's file, without a last line that a crash cut off."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]
