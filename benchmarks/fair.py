"""The fair fight: base and rival given the same training minutes on the same documents, scored on the same items."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import HERE, WORK
from tinsmith import load_recipe
from tinsmith.foundation.files import read_json, read_jsonl
from tinsmith.foundation.progress import default_progress
from tinsmith.pipeline import build

_RIVAL = "gemma-3-270m"
_TRAINED = f"{_RIVAL}-trained"
_METRICS = ("bits_per_byte", "accuracy:next_passage:0-shot", "accuracy:cloze:0-shot")


def run(*, quick: bool) -> None:
    """Write `results/fair`."""
    quickly = ["train.budget=20s", "evaluate.documents=4", "evaluate.built_items=4"] if quick else []
    bigger = _build("fair-bigger", f"model.base={_RIVAL}", *quickly, until="package")
    rival = WORK / _TRAINED
    shutil.rmtree(rival, ignore_errors=True)
    shutil.copytree(bigger / "package" / "model", rival)
    smaller = _build("fair", f'evaluate.rivals=["{rival}", "{_RIVAL}"]', *quickly, until="evaluate")
    found = read_json(smaller / "evaluate" / "metrics.json")
    names = {row["subject"]: row["name"] for row in found["subjects"] if row.get("role") != "control"}
    lines = [[names[subject], *(_shown(found, subject, metric) for metric in _METRICS)] for subject in names]
    fights = [
        [row["metric"], names[row["b"]], _interval(row["difference"], row["low"], row["high"])]
        for row in found["comparisons"]
        if row["a"] == "trained" and row["b"] in names and row["metric"] in _METRICS
    ]
    learnt = {"smollm2-135m": _tokens(smaller), _RIVAL: _tokens(bigger)}
    body = [
        *table(["subject", *_METRICS], lines),
        *table(["measure", "ours minus", "difference"], fights),
        "Tokens learnt from in the same minutes: "
        + ", ".join(f"{name} {count:,}" for name, count in learnt.items())
        + ".",
    ]
    name = "fair-quick" if quick else "fair"
    facts = {"metrics": found["metrics"], "comparisons": found["comparisons"], "tokens": learnt}
    write_evidence(name, "Base and rival given the same training minutes on the same documents", facts, body)


def _build(name: str, *overrides: str, until: str) -> Path:
    given = (f"name={name}", f"runs={WORK / 'runs'}", *overrides)
    return build(load_recipe(HERE / "recipes" / "fair.toml", given), progress=default_progress(), until=until)


def _shown(found: dict[str, Any], subject: str, metric: str) -> str:
    rows = [row for row in found["metrics"] if (row["subject"], row["metric"]) == (subject, metric)]
    return _interval(rows[0]["value"], rows[0]["low"], rows[0]["high"]) if rows else "–"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _tokens(run_directory: Path) -> int:
    return sum(int(row["tokens"]) for row in read_jsonl(run_directory / "train" / "log.jsonl"))
