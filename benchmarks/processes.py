"""Run a worker as a fresh process in its peer's environment, offline, and read its one JSON object."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.paths import ROOT, WORK
from benchmarks.peers import python_of
from benchmarks.workers.job import Job

THREADS = len(os.sched_getaffinity(0))
_LIMIT_SECONDS = 7200.0
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


class WorkerFailed(RuntimeError):
    """A worker ended without a result; the message ends in the last lines that it printed."""


def run_worker(
    environment: str, worker: str, job: Job, *, cache: str = "", threads: int = THREADS
) -> dict[str, Any]:
    """Run a job to its end; return the worker's result. Raises WorkerFailed.

    `cache` names the subject whose compiled kernels are kept from run to run.
    """
    logs = WORK / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK, prefix="job-") as folder:
        job = Job(**{**asdict(job), "out": f"{folder}/result.json", "threads": threads})
        path, log = Path(folder, "job.json"), logs / f"{worker}-{time.time_ns()}.log"
        path.write_text(json.dumps(asdict(job)))
        command = [str(python_of(environment)), "-m", f"benchmarks.workers.{worker}", str(path)]
        with log.open("w") as file:
            code = subprocess.run(
                command,
                cwd=ROOT,
                env=_environment(cache or worker, threads),
                stdout=file,
                stderr=file,
                timeout=_LIMIT_SECONDS,
            ).returncode
        if code or not Path(job.out).exists():
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
            raise WorkerFailed(f"{worker} ended with {code}; see {log}\n{tail}")
        result: dict[str, Any] = json.loads(Path(job.out).read_text())
    log.unlink()
    return result


def forget_kernels() -> None:
    """Drop compiled kernels, so that the first round shows what compiling costs."""
    shutil.rmtree(WORK / "inductor", ignore_errors=True)


def _environment(cache: str, threads: int) -> dict[str, str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TINSMITH_CACHE") if name in os.environ
    }
    return {
        **kept,
        **_OFFLINE,
        "HF_HOME": str(WORK / "hf"),
        "TORCHINDUCTOR_CACHE_DIR": str(WORK / "inductor" / cache.replace(" ", "-")),
        "OMP_NUM_THREADS": str(threads),
        # The same for all: threads that spin without bound cost a factor of ten beside a neighbour.
        "GOMP_SPINCOUNT": "20000",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore",
    }
