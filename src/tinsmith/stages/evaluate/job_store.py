"""Store what a subject answers about jobs, with what it cost; what was asked before is not asked again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinsmith.base.files import JsonObject, read_json, sha256_json, write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.evaluate.families.jobs import FAMILY
from tinsmith.evidence.items import JobAbout, JobAsked, JobRow
from tinsmith.jobs.spec import Calibration
from tinsmith.meter.energy import EnergyMeter


@dataclass
class Cost:
    """Seconds and joules (central, lowest, highest) of answering, the opening of the model left out."""

    seconds: float = 0.0
    joules: tuple[float, float, float] = (0.0, 0.0, 0.0)
    method: str = ""


@contextlib.contextmanager
def metered() -> Iterator[Cost]:
    """Measure what answering costs."""
    cost, start = Cost(), time.perf_counter()
    with EnergyMeter() as meter:
        yield cost
    reading = meter.reading
    cost.seconds, cost.method = time.perf_counter() - start, reading.method
    cost.joules = (reading.joules, reading.joules_low, reading.joules_high)


@dataclass(frozen=True)
class Answers:
    """A subject's answers to one job. `calibration` made its scores, where that is not the job's own."""

    rows: Sequence[JobRow]
    cost: Cost | None = None
    calibration: Calibration | None = None
    recorded: JsonObject | None = None
    price_per_1000: float | None = None
    lost: Mapping[str, int] = field(default_factory=dict)  # reason -> rows that have no answer for it
    final: bool = True  # False where another try may give answers that are missing

    def facts(self) -> JobAsked:
        """Return what is stored beside the rows."""
        facts: JobAsked = {
            "rows": len(self.rows),
            "seconds": self.cost.seconds if self.cost else None,
            "joules": self.cost.joules if self.cost else None,
            "method": self.cost.method if self.cost else None,
            "price_per_1000": self.price_per_1000,
            "calibration": self.calibration.model_dump(mode="json") if self.calibration else None,
            "recorded": self.recorded,
        }
        if self.lost:
            facts["lost"] = dict(self.lost)
        return facts


Asks = Mapping[str, Callable[[], Answers]]  # by job


@dataclass(frozen=True)
class JobStore:
    """The items of jobs in `items`. `depends` is what the answers of every subject depend on."""

    items: Path
    depends: JsonObject
    progress: Progress

    def put(self, subject: str, system: str, about: Sequence[object], asks: Asks) -> JobAbout:
        """Ask a subject about its jobs and store its answers, unless it was asked the same before.

        `about` is what its answers depend on beside the jobs, such as the hash of its files. Returns what is stored
        beside them.
        """
        path, file = (self.items / f"{FAMILY.kind}-{subject}{end}" for end in (".jsonl", ".json"))
        fingerprint = sha256_json(
            {"all": self.depends, "system": system, "about": list(about), "jobs": list(asks)}
        )
        if file.is_file() and path.is_file():
            before: JobAbout = read_json(file)
            if before["fingerprint"] == fingerprint:
                self.progress.say(f"  {subject}: asked before")
                return before
        # Before any item changes: a kill must not leave an old fingerprint beside new items.
        file.unlink(missing_ok=True)
        self.progress.say(f"  {subject}: {', '.join(asks)}")
        rows: list[JobRow] = []
        found = {name: ask() for name, ask in asks.items()}
        for answers in found.values():
            rows += answers.rows
        facts = {name: answers.facts() for name, answers in found.items()}
        write_jsonl(path, rows)
        if not all(answers.final for answers in found.values()):
            fingerprint = ""  # so that another attempt asks again
        stored: JobAbout = {"fingerprint": fingerprint, "system": system, "jobs": facts}
        write_json(file, stored)
        return stored
