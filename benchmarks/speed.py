"""Training tokens per second against peers, all weights or LoRA, in interleaved rounds of fresh processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import peers, prepare
from benchmarks.evidence import commit, write_evidence
from benchmarks.paths import RESULTS
from benchmarks.processes import WorkerFailed, forget_kernels, run_worker
from benchmarks.speed_table import body
from benchmarks.subjects import SUBJECTS, Subject
from benchmarks.workers.job import Job
from tinsmith.base.files import read_json

BATCH = 4  # sequences of 512 tokens in a step
_WARMUP = {"blocks": 1, "documents": 2}  # compilers see a second length before they allow for any
_FLOPS_GUESS = 60e9  # a second, for the estimate of time only


@dataclass(frozen=True)
class Plan:
    """What to run: `rounds` of every subject, each the task's warm-up and then `steps` steps.

    With `append` the rounds are added to those in the results, which must be of the same commit.
    """

    trainable: str = "all"
    rounds: int = 3
    steps: int = 4
    append: bool = False
    subjects: tuple[Subject, ...] = SUBJECTS
    tasks: tuple[str, ...] = ("blocks", "documents")
    precisions: tuple[str, ...] = field(default_factory=lambda: precisions())


def precisions() -> tuple[str, ...]:
    """Return float32, and bfloat16 where the processor multiplies it."""
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return ("float32", "bfloat16") if fast else ("float32",)


def run(name: str, plan: Plan) -> None:
    """Measure and write `results/NAME` after every round, so that an interrupted run leaves what it has."""
    base, data, lit = _ready(plan)
    config = read_json(base / "config.json")
    print(f"{name}: {_estimate(plan):.0f} minutes or so", flush=True)
    rows = _earlier_rows(name) if plan.append else []
    first = 1 + max((row["round"] for row in rows), default=-1)
    if not rows:
        forget_kernels()
    for number in range(first, first + plan.rounds):
        for task, precision in ((t, p) for p in plan.precisions for t in plan.tasks):
            rows.append(_matmul(number, task, precision, base))
            for subject in _order(plan.subjects, number):
                job = _job(
                    plan, subject, task, precision, lit if subject.environment == "litgpt" else base, data
                )
                rows.append(_run_one(number, task, subject, job))
        facts = _facts(plan, rows, config)
        write_evidence(name, _title(plan), facts, body(facts))


def sweep(plan: Plan) -> None:
    """Print each subject's tokens per second with micro-batches of 1, 2 and 4 sequences: how `micro` was chosen."""
    base, data, lit = _ready(plan)
    for subject in plan.subjects:
        for micro in (1, 2, 4):
            model = lit if subject.environment == "litgpt" else base
            job = _job(
                plan,
                replace(subject, micro=micro, micro_lora=micro),
                "blocks",
                plan.precisions[-1],
                model,
                data,
            )
            _run_one(0, f"micro {micro}", subject, job)


def _earlier_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of the rounds that are in the results."""
    facts = read_json(RESULTS / f"{name}.json")
    if facts["commit"] != commit():
        raise SystemExit(
            f"{name}: the results are of commit {facts['commit']}, not {commit()}; run without --append"
        )
    return list(facts["rows"])


def _ready(plan: Plan) -> tuple[Path, dict[str, Path], Path]:
    """Return the base, the data of each task, and the base for LitGPT."""
    run_directory = prepare.build_until("quality", "tokenize")
    base = prepare.base_directory()
    needs_lit = any(subject.environment == "litgpt" for subject in plan.subjects)
    lit = prepare.litgpt_directory(base) if needs_lit else base
    data = {
        "blocks": prepare.write_blocks(run_directory),
        "documents": prepare.write_documents(run_directory),
    }
    return base, data, lit


def _order(subjects: Sequence[Subject], number: int) -> Iterator[Subject]:
    """Yield the subjects, beginning elsewhere in each round, so that no one always follows the same one."""
    start = number * 3 % len(subjects)
    return iter([*subjects[start:], *subjects[:start]])


def _job(plan: Plan, subject: Subject, task: str, precision: str, model: Path, data: dict[str, Path]) -> Job:
    return Job(
        out="",
        model=str(model),
        data=str(data[task]),
        batch=BATCH,
        micro=subject.micro if plan.trainable == "all" else subject.micro_lora,
        steps=plan.steps,
        warmup=_WARMUP[task],
        precision=precision,
        trainable=plan.trainable,
        compiled=subject.compiled,
        blocks=task == "blocks",
    )


def _run_one(number: int, task: str, subject: Subject, job: Job) -> dict[str, Any]:
    row = {
        "round": number,
        "task": task,
        "precision": job.precision,
        "subject": subject.name,
        "micro": job.micro,
    }
    try:
        result = run_worker(subject.environment, subject.worker, job, cache=f"{subject.name} {task}")
    except WorkerFailed as error:
        print(f"round {number + 1}, {task}, {subject.name}: FAILED\n{error}", flush=True)
        return {**row, "failed": str(error).splitlines()[-1]}
    speed = result["tokens"] / result["seconds"]
    print(
        f"round {number + 1}, {task}, {job.precision}, {subject.name}: {speed:.1f} tokens/s, "
        f"{result['peak_rss_bytes'] / 2**30:.2f} GiB, losses {[round(loss, 4) for loss in result['losses'][:3]]}",
        flush=True,
    )
    return {**row, **result, "tokens_per_second": speed}


def _matmul(number: int, task: str, precision: str, base: Path) -> dict[str, Any]:
    job = Job(out="", model=str(base), data="", batch=BATCH, micro=1, steps=1, precision=precision)
    rate = run_worker(peers.OURS, "matmul", job)["gflops"]
    print(f"round {number + 1}, {task}: matrix products {rate:.0f} GFLOP/s in {precision}", flush=True)
    return {"round": number, "task": task, "precision": precision, "subject": "matmul", "gflops": rate}


def _facts(plan: Plan, rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    versions: dict[str, str] = {}
    for row in rows:
        versions |= row.get("versions", {})
    settings = {name: getattr(plan, name) for name in ("trainable", "steps", "tasks")}
    return {"settings": settings, "versions": versions, "model": config, "rows": rows}


def _title(plan: Plan) -> str:
    what = "all weights" if plan.trainable == "all" else "LoRA of rank 16 on all linear layers of the blocks"
    return f"Training tokens per second, SmolLM2-135M, {what}, 4 x 512 tokens a step"


def _estimate(plan: Plan) -> float:
    """Return minutes, from a guess of the machine's rate and a minute of starting and compiling a process."""
    step = 6 * 135e6 * BATCH * prepare.LENGTH / _FLOPS_GUESS
    runs = plan.rounds * len(plan.tasks) * len(plan.precisions)
    compiling = 4 * sum(subject.compiled for subject in plan.subjects) * len(plan.tasks)
    return runs * len(plan.subjects) * ((1.5 + plan.steps) * step / 60 + 0.5) + compiling
