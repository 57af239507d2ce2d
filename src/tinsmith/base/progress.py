"""Progress of long tasks: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

Advance = Callable[[float], None]


class Progress(Protocol):
    """Reports the progress of a stage."""

    def say(self, message: str) -> None:
        """Print one line."""

    def task(self, what: str, total: float | None, unit: str) -> AbstractContextManager[Advance]:
        """Begin a task; call the yielded function with each amount done, in `unit`. A `total` of None is unknown."""


class SilentProgress:
    """Prints nothing: for tests and library use."""

    def say(self, message: str) -> None:
        """Discard the line."""

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator[Advance]:
        """Discard all amounts."""
        yield lambda amount: None


class PlainProgress:
    """Prints a line at most every `seconds`, and at the end of each task that took a second or more."""

    def __init__(self, stream: TextIO | None = None, seconds: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.seconds = seconds

    def say(self, message: str) -> None:
        """Print one line at once."""
        print(message, file=self.stream, flush=True)

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator[Advance]:
        """Print count, rate and time left as plain lines."""
        start = shown = time.monotonic()
        done = 0.0

        def line(now: float) -> str:
            rate = done / max(now - start, 1e-9)
            left = f", {_clock((total - done) / rate)} left" if total and rate > 0 else ""
            count = f"{done:,.0f} of {total:,.0f} {unit}" if total else f"{done:,.0f} {unit}"
            return f"  {what}: {count}, {rate:,.1f} {unit}/s{left}"

        def advance(amount: float) -> None:
            nonlocal done, shown
            done += amount
            now = time.monotonic()
            if now - shown >= self.seconds:
                shown = now
                self.say(line(now))

        yield advance
        now = time.monotonic()
        if now - start >= 1.0:
            self.say(f"  {what}: {done:,.0f} {unit} in {_clock(now - start)}")


class LiveProgress:
    """Draws a bar with rate and time left on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    def say(self, message: str) -> None:
        """Print one line above any bar."""
        self.console.print(message, highlight=False, markup=False)

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator[Advance]:
        """Show a bar until the task ends, then remove it."""
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            TextColumn(
                "{task.completed:,.0f}/{task.total:,.0f} " + unit
                if total
                else "{task.completed:,.0f} " + unit
            ),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        start = time.monotonic()
        with Bar(*columns, console=self.console, transient=True) as bar:
            handle = bar.add_task(what, total=total, rate="")
            done = 0.0

            def advance(amount: float) -> None:
                nonlocal done
                done += amount
                rate = done / max(time.monotonic() - start, 1e-9)
                bar.update(handle, advance=amount, rate=f"{rate:,.1f} {unit}/s")

            yield advance


def default_progress() -> Progress:
    """Choose the live bar on a terminal and plain lines elsewhere."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
