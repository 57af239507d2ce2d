"""Peak memory of every subject, read from the results of the speed benchmarks."""

from __future__ import annotations

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import RESULTS
from benchmarks.speed_table import by_subject
from tinsmith.base.files import read_json

_PAGES = {"speed": "all weights", "lora": "LoRA"}


def run() -> None:
    """Write `results/memory`: the most that each worker ever had resident, over its whole life."""
    versions: dict[str, str] = {}
    peaks: dict[str, dict[str, float]] = {}
    for name in (each for each in _PAGES if (RESULTS / f"{each}.json").exists()):
        facts = read_json(RESULTS / f"{name}.json")
        versions |= facts["versions"]
        for task, precision in dict.fromkeys((row["task"], row["precision"]) for row in facts["rows"]):
            rows = [row for row in facts["rows"] if (row["task"], row["precision"]) == (task, precision)]
            peaks[f"{_PAGES[name]}, {task}, {precision}"] = {
                subject: max(row["peak_rss_bytes"] for row in group) / 2**30
                for subject, group in by_subject(rows).items()
            }
    if not peaks:
        print("memory: run `make bench ONLY=speed` first")
        return
    subjects = dict.fromkeys(subject for column in peaks.values() for subject in column)
    lines = [
        [subject, *(f"{column[subject]:.2f}" if subject in column else "" for column in peaks.values())]
        for subject in subjects
    ]
    facts = {"versions": versions, "peak_gib": peaks}
    write_evidence("memory", "Peak resident memory in GiB", facts, table(["subject", *peaks], lines))
