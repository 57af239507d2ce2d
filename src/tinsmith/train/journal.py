"""What a run writes while it trains: a row per step, a row per decision, and no half rows."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinsmith.foundation.errors import TrainingError
from tinsmith.foundation.files import write_jsonl
from tinsmith.train.budget import Done


class Journal:
    """Append rows to `log.jsonl` and `schedule.jsonl`; cut both back to the step that a run resumes at."""

    def __init__(self, out: Path) -> None:
        self._paths = {"log": out / "log.jsonl", "schedule": out / "schedule.jsonl"}
        self.rows: list[dict[str, Any]] = []

    def resume(self, done: Done, say: Callable[[str], None]) -> None:
        """Keep the rows of the steps that the checkpoint holds. Raises TrainingError where some are missing."""
        rows = read_rows(self._paths["log"])
        self.rows = [row for row in rows if row["step"] < done.step]
        if [row["step"] for row in self.rows] != list(range(done.step)):
            raise TrainingError(
                f"it does not tell of all {done.step} steps before the checkpoint",
                where=str(self._paths["log"]),
                next_step="remove the stage's directory to train anew",
            )
        decisions = [row for row in read_rows(self._paths["schedule"]) if row["step"] < done.step]
        write_jsonl(self._paths["log"], self.rows)
        if decisions or self._paths["schedule"].exists():
            write_jsonl(self._paths["schedule"], decisions)
        lost = math.fsum(row["seconds"] for row in rows[len(self.rows) :])
        if done.step or rows:
            say(
                f"  going on at step {done.step}; {lost:.0f} s of work after the last checkpoint is made again"
            )

    def add(self, row: dict[str, Any], decision: dict[str, Any] | None) -> None:
        """Append a step, and the decision before it where there is one."""
        if decision is not None:
            _append(self._paths["schedule"], decision)
        _append(self._paths["log"], row)
        self.rows.append(row)

    def flush(self) -> None:
        """Have all rows on disk, so that no checkpoint is ahead of its log."""
        for path in self._paths.values():
            if path.exists():
                with path.open("rb") as file:
                    os.fsync(file.fileno())


def summarise(rows: Sequence[dict[str, Any]], epoch_tokens: int) -> dict[str, float]:
    """Return the statistics of a run: counts, and the mean loss of its first and last twentieth."""
    edge = max(1, len(rows) // 20)
    tokens, seconds = sum(row["tokens"] for row in rows), math.fsum(row["seconds"] for row in rows)
    return {
        "steps": len(rows),
        "tokens": tokens,
        "supervised_tokens": sum(row["supervised"] for row in rows),
        "epochs": tokens / epoch_tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "first_loss": statistics.fmean(row["loss"] for row in rows[:edge]),
        "final_loss": statistics.fmean(row["loss"] for row in rows[-edge:]),
    }


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until the block is done: half-moved weights would belong to no step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, Any]] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    usual = {
        each: signal.signal(each, lambda number, frame: held.append((number, frame))) for each in signals
    }
    try:
        yield
    finally:
        for each, handler in usual.items():
            signal.signal(each, handler)
        if held:
            _handle(*held[0], usual[signal.Signals(held[0][0])])


def _handle(number: int, frame: Any, handler: Any) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.raise_signal(number)


def _append(path: Path, row: dict[str, Any]) -> None:
    # One write, so that a kill leaves the line whole or, at worst, cut: then it is no row.
    with path.open("ab") as file:
        file.write((json.dumps(row, allow_nan=False) + "\n").encode())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a journal's file; what a kill cut off behind the last line's end is none."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]
