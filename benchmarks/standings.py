"""Tables of a finished run of a benchmark's recipe: each model's figures, and ours beside each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.evidence import table
from benchmarks.paths import HERE, WORK
from tinsmith import load_recipe
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import default_progress
from tinsmith.pipeline.build import build

_METRICS = ("bits_per_byte", "accuracy:next_passage:0-shot", "accuracy:cloze:0-shot")


def build_recipe(recipe: str, name: str, *overrides: str, until: str) -> Path:
    """Build `recipes/RECIPE.toml` under another name up to a stage; return its run directory."""
    given = (f"name={name}", f"runs={WORK / 'runs'}", *overrides)
    return build(
        load_recipe(HERE / "recipes" / f"{recipe}.toml", given), progress=default_progress(), until=until
    )


def standings(found: dict[str, Any]) -> list[str]:
    """Return two tables in Markdown from `metrics.json`: figures of all models, and paired differences of ours."""
    names = {row["subject"]: row["name"] for row in found["subjects"] if row.get("role") != "control"}
    lines = [[names[subject], *(_figure(found, subject, metric) for metric in _METRICS)] for subject in names]
    pairs = [
        [row["metric"], names[row["b"]], _interval(row["difference"], row["low"], row["high"])]
        for row in found["comparisons"]
        if row["a"] == "trained" and row["b"] in names and row["metric"] in _METRICS
    ]
    return [*table(["subject", *_METRICS], lines), *table(["measure", "ours minus", "difference"], pairs)]


def tokens_learnt(run_directory: Path) -> int:
    """Return how many tokens a run learnt from."""
    return sum(int(row["tokens"]) for row in read_jsonl(run_directory / "train" / "log.jsonl"))


def _figure(found: dict[str, Any], subject: str, metric: str) -> str:
    rows = [row for row in found["metrics"] if (row["subject"], row["metric"]) == (subject, metric)]
    return _interval(rows[0]["value"], rows[0]["low"], rows[0]["high"]) if rows else "–"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
