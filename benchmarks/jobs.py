"""Jobs on public data: our 4-bit file beside linear models, an encoder, rivals and recorded answers, in one run.

Each job is a recipe `recipes/job_NAME.toml` beside this file. It is built with each of a few seeds; all who are
compared are asked the same test rows in the same run.
"""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import job_files
from benchmarks.evidence import table, write_evidence
from benchmarks.paths import WORK
from benchmarks.standings import build_recipe
from tinsmith.base.files import read_json
from tinsmith.evidence.schema import OURS_4BIT

JOBS = ("stance", "stance_half_wrong", "clauses", "contract_fields", "tatqa")
_SEEDS = (1, 2, 3)
_SEVERAL = ("stance",)  # judged by the mean of several seeds
# What a seed leaves as it was is measured with the first: rivals, and an encoder that learns for minutes.
_OURS_ALONE = ("evaluate.trained_rivals=[]", "evaluate.rivals=[]", 'evaluate.encoder=""')
_NO_FIGURE = "–"


def run(*, data: str, jobs: Sequence[str] = JOBS, quick: bool) -> None:
    """Write `results/jobs-NAME` for each job; `data` is a directory with the folders `cuad`, `tat-qa` and `fomc`."""
    place = WORK / "jobs"
    place.mkdir(parents=True, exist_ok=True)
    prepare(Path(data).resolve(), place)
    os.chdir(place)  # the recipes name their files relative to it
    quickly = ["jobs.0.budget=20s"] if quick else []
    for job in jobs:
        seeds = _SEEDS if job in _SEVERAL and not quick else _SEEDS[:1]
        title = f"The job {job.replace('_', ' ')}"
        found: list[dict[str, Any]] = []
        for seed in seeds:
            found.append(_metrics(job, seed, *quickly, *(_OURS_ALONE if found else ())))
            facts = {"seeds": seeds[: len(found)], "metrics": found}
            body = [*_table(found), *_differences(found)]
            write_evidence(f"jobs-{job}-quick" if quick else f"jobs-{job}", title, facts, body)


def prepare(data: Path, place: Path) -> None:
    """Write the files of the jobs, and link those that need no change."""
    job_files.write_all(data, place)
    link = place / "stance"
    if not link.exists():
        link.symlink_to(data / "fomc" / "stance")


def _metrics(job: str, seed: int, *overrides: str) -> dict[str, Any]:
    directory = build_recipe(f"job_{job}", f"job_{job}-{seed}", f"seed={seed}", *overrides, until="report")
    metrics: dict[str, Any] = read_json(directory / "evaluate" / "metrics.json")
    return metrics


def _table(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table with each subject's figures, as `_cell` writes them."""
    first = found[0]
    (summary,) = first["jobs"]
    headline = summary["headline"]
    shown = [row["metric"] for row in first["metrics"] if row.get("task") == summary["job"]]
    metrics = list(dict.fromkeys([headline, *(metric for metric in shown if metric.count(":") == 1)]))
    rows = []
    for subject in first["subjects"]:
        cells = [_cell(found, subject["subject"], metric) for metric in metrics]
        if cells[0] != _NO_FIGURE:
            rows.append([subject["name"], *cells])
        alone = [_cell(found, subject["subject"], f"{metric}:without_words") for metric in metrics]
        if alone[0] != _NO_FIGURE:
            rows.append([f"{subject['name']}, its words left out", *alone])
    return table(["subject", *map(_shown, metrics)], rows)


def _differences(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of our 4-bit file against each subject, paired over rows: each seed's, in the order of seeds."""
    pairs: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for metrics in found:
        for row in metrics["comparisons"]:
            if row["a"] == OURS_4BIT:
                shown = f"{row['difference']:+.3f} ({row['low']:.3f} to {row['high']:.3f})"
                pairs[row["b"]][row["metric"]].append(shown)
    shown_metrics = list(dict.fromkeys(metric for row in pairs.values() for metric in row))
    names = {row["subject"]: row["name"] for row in found[0]["subjects"]}
    rows = [
        [names[subject], *("; ".join(row.get(metric, [_NO_FIGURE])) for metric in shown_metrics)]
        for subject, row in pairs.items()
    ]
    return table(["our 4-bit file minus (95%)", *map(_shown, shown_metrics)], rows)


def _shown(metric: str) -> str:
    """Return a metric without the job's name: job_weighted_f1:stance is weighted f1."""
    return metric.removeprefix("job_").partition(":")[0].replace("_", " ")


def _cell(found: Sequence[dict[str, Any]], subject: str, metric: str) -> str:
    """Return a figure with its interval; of seeds that differ their mean, range and the first's interval."""
    rows = [
        row
        for metrics in found
        for row in metrics["metrics"]
        if (row["subject"], row["metric"]) == (subject, metric)
    ]
    if not rows:
        return _NO_FIGURE
    values = [row["value"] for row in rows]
    low, high = rows[0].get("low"), rows[0].get("high")
    interval = f"{low:.3g} to {high:.3g}" if low != high else ""
    if min(values) == max(values):
        return f"{values[0]:.3g} ({interval})" if interval else f"{values[0]:.3g}"
    seeds = f"{statistics.mean(values):.3g}, {len(values)} seeds {min(values):.3g} to {max(values):.3g}"
    return f"{seeds} (the first {interval})" if interval else seeds
