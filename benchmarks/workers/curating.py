"""Curate a table of documents with Tinsmith's own stage."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks.workers.job import Job, peak_rss_bytes, read_job, write_json
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import PRIVACY_DEFAULTS, CurateConfig
from tinsmith.stages.curate.run import curate


def main(job: Job) -> None:
    """Write seconds and statistics; `more` holds fields of the section curate. Privacy is measured elsewhere."""
    keep = {"actions": dict.fromkeys(PRIVACY_DEFAULTS, "keep")}
    config = CurateConfig(**{"privacy": keep, **job.more["curate"]})
    out = Path(job.save)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    seconds = []
    for _ in range(
        2 if job.more.get("warm") else 1
    ):  # the first compiles what was never compiled on this machine
        began = time.perf_counter()
        figures = curate(
            config, inputs={"ingest": Path(job.data)}, seed=1, out=out, progress=SilentProgress()
        )
        seconds.append(time.perf_counter() - began)
    write_json(job, {"seconds": seconds[-1], "statistics": figures, "peak_rss_bytes": peak_rss_bytes()})
    shutil.rmtree(out)


if __name__ == "__main__":
    main(read_job())
