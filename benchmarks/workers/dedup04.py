"""Deduplicate JSON Lines with text-dedup 0.4.0's MinHash script, as its users run it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.workers.job import Job, read_job, write_json


def main(job: Job) -> None:
    """Write seconds of the whole script; two processes, a threshold of 0.7, word 5-grams."""
    out = Path(job.save)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    options = {
        "path": "json",
        "data_files": f"{job.data}/*.jsonl",
        "split": "train",
        "column": "text",
        "cache_dir": str(out / "cache"),
        "output": str(out / "left"),
        "num_proc": "2",
        "ngram": "5",
        "threshold": "0.7",
        "batch_size": "1000",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "text_dedup.minhash", *words], check=True)
    write_json(job, {"seconds": time.perf_counter() - began})
    shutil.rmtree(out)


if __name__ == "__main__":
    main(read_job())
