"""Build one of the benchmarks' recipes up to the trained model, as a person would."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from benchmarks.workers.job import Job, peak_rss_bytes, read_job, write_json
from benchmarks.workers.ours import Watch
from tinsmith import load_recipe
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.pipeline.build import build


def main(job: Job) -> None:
    """Write what the run took; `more` holds the recipe's path and overrides."""
    torch.set_num_threads(job.threads)
    watch = Watch()
    recipe = load_recipe(Path(job.more["recipe"]), tuple(job.more["overrides"]))
    train = build(recipe, progress=watch, until="train") / "train"
    rows, walls = list(read_jsonl(train / "log.jsonl")), watch.stamps.wall
    inside = math.fsum(row["seconds"] for row in rows)
    write_json(
        job,
        {
            # Wall time from the first step to the end of the last; inside steps where a killed run was resumed.
            "training_seconds": max(inside, walls[-1] - walls[0] if walls else 0.0),
            "whole_seconds": read_json(train / "manifest.json")["seconds"],
            "tokens": sum(row["tokens"] for row in rows),
            "steps": len(rows),
            "model": str(train / "model"),
            "peak_rss_bytes": peak_rss_bytes(),
        },
    )


if __name__ == "__main__":
    main(read_job())
