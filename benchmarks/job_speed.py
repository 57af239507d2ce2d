"""Answers a second of a classification: `tinsmith run` beside llama.cpp's own server and a transformers loop."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import WORK
from benchmarks.peers import OURS
from benchmarks.processes import run_worker
from benchmarks.ratios import ratio_spread, spread
from benchmarks.workers.job import Job
from tinsmith.base.assets import resolve_corpus, resolve_model
from tinsmith.gguf.writer import write_gguf
from tinsmith.jobs.spec import Job as Spec
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.recipe import JobConfig
from tinsmith.tokens.tokenizer import load_tokenizer

_LABELS = ("permissive", "copyleft", "proprietary")
_CHARACTERS, _TEXTS, _ROUNDS = 200, 24, 3
FORMATS = ("q4_k_m", "q8_0", "f16")


class _Way(NamedTuple):
    way: str
    format: str = "q4_k_m"
    batch: int = 1


_OURS = "tinsmith run, q4_k_m"
_WAYS = {
    _OURS: _Way("run"),
    "llama.cpp's server, q4_k_m": _Way("llama"),
    "llama.cpp's server, q8_0": _Way("llama", "q8_0"),
    "transformers loop, one at a time": _Way("transformers"),
    "transformers loop, eight at a time": _Way("transformers", batch=8),
}


def run(*, quick: bool, rounds: int = _ROUNDS) -> None:
    """Write `results/job_speed`. Each round takes other texts, each way starts first in turn."""
    directory = _directory()
    facts: dict[str, Any] = {"model": "smollm2-135m", "characters": _CHARACTERS, "rounds": []}
    texts, names = _texts(), list(_WAYS)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    count, rounds = (4, 1) if quick else (_TEXTS, rounds)
    for number in range(rounds):
        data = WORK / "job-speed.json"
        data.write_text(json.dumps(texts[number * count : (number + 1) * count]))
        for name in names[number % len(names) :] + names[: number % len(names)]:
            way = _WAYS[name]
            more = {"way": way.way, "format": way.format}
            job = Job("", str(directory), str(data), way.batch, 1, 0, more=more)
            row = run_worker(OURS, "asking", job, cache=name)
            found[name].append(row)
            facts["rounds"].append({"way": name, "round": number, **row})
            print(f"{name}: {count / row['seconds']:.2f} answers a second", flush=True)
    lines = []
    for name, rows in found.items():
        ratio = ratio_spread([row["seconds"] for row in rows], [row["seconds"] for row in found[_OURS]])
        same = sum(
            mine == other
            for row, ours in zip(rows, found[_OURS])
            for mine, other in zip(row["answers"], ours["answers"])
        )
        rate = spread([count / row["seconds"] for row in rows])
        tokens = spread([row["tokens"] / row["seconds"] for row in rows])
        lines.append([name, rate, f"{tokens.median:.0f}", ratio, f"{same} of {count * rounds}"])
    header = ["way", "answers/s", "tokens/s", "tinsmith run: times as fast", "same answers"]
    title = f"A classification of {count * rounds} texts of {_CHARACTERS} characters, SmolLM2-135M"
    write_evidence(
        "job_speed-quick" if quick else "job_speed", title, facts, [*table(header, lines), *_NOTES]
    )


_NOTES = [
    "Fresh processes in turn, other texts each round, no two alike; loading is not timed. All ways ask with the same "
    "token ids. The model did not learn the job, which changes no time: a plain loop writes whatever it likes, so its "
    "answers differ. llama.cpp writes under a grammar of the labels, one request after another.",
]


def _texts() -> list[str]:
    """Return pieces of licences, no two alike, in an order of their own."""
    corpus = resolve_corpus("licence-agreements")
    assert corpus is not None
    files = sorted(path for path in corpus.rglob("*") if path.is_file())
    pieces = {" ".join(path.read_text(errors="replace").split())[:_CHARACTERS] for path in files}
    chosen = sorted(piece for piece in pieces if len(piece) == _CHARACTERS)
    random.Random(5).shuffle(chosen)
    return chosen


def _directory() -> Path:
    """Return a job's directory with the base as its model."""
    directory = WORK / "job-speed" / "jobs" / "kind"
    config = JobConfig(name="kind", kind="classify", question="Kind of licence:", answer="{kind}")
    if not (directory / "job.json").exists():
        shutil.rmtree(directory, ignore_errors=True)
        path = resolve_model("smollm2-135m").path
        save_model(load_model(path), load_tokenizer(path), directory / "model", "float32")
        for format in FORMATS:
            write_gguf(directory / "model", directory / "gguf" / f"model-{format}.gguf", format)
        Spec(config=config, labels=_LABELS).write(directory)
    return directory
