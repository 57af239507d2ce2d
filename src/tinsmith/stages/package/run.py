"""Export the trained model as safetensors and GGUF files, and prove that the exports equal it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tinsmith.base.files import atomic_path, read_jsonl, write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.gguf.writer import GgufReport, write_gguf
from tinsmith.jobs.spec import FILE as JOB_FILE
from tinsmith.jobs.word_model import FILE as WORDS_FILE
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.parity.gate import check_parity
from tinsmith.parity.jobs import check_job
from tinsmith.recipe import PackageConfig
from tinsmith.stages.stage import Inputs
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer


def package(
    config: PackageConfig,
    *,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Write `model/`, `gguf/model-FORMAT.gguf`, `parity.json` and `items/parity.jsonl` if documents were learnt.

    Each job has the same below `jobs/JOB/`, with its `job.json` and `words.json`; its items are `parity.jsonl`.
    Raises AssetError for a model that a format cannot store, CorpusError without usable held-out text, ParityError if
    an export differs from the trained model by more than its bounds.
    """
    statistics: dict[str, float] = {}
    if "train" in inputs:
        statistics |= _package_documents(config, inputs, seed, out, progress)
    for job in sorted(inputs["learn"].glob(f"*/{JOB_FILE}")) if "learn" in inputs else ():
        examples = inputs["examples"] / job.parent.name
        figures = _package_job(config, job.parent, examples, seed, out / "jobs" / job.parent.name, progress)
        statistics |= {f"{name}_{job.parent.name}": value for name, value in figures.items()}
    return statistics


def _package_documents(
    config: PackageConfig, inputs: Inputs, seed: int, out: Path, progress: Progress
) -> dict[str, float]:
    trained = inputs["train"] / "model"
    held_out = pq.read_table(inputs["split"] / "documents.parquet", filters=[("part", "==", "held_out")])
    reports = _export(config, trained, inputs["tokenize"] / "tokenizer", out, progress)
    texts = held_out["text"].to_pylist()
    parity = check_parity(trained, out / "model", _ggufs(config, out), texts, config, progress, seed=seed)
    write_jsonl(out / "items" / "parity.jsonl", parity["items"])
    return _write_facts(parity, reports, out)


def _package_job(
    config: PackageConfig, learnt: Path, examples: Path, seed: int, out: Path, progress: Progress
) -> dict[str, float]:
    """Export the model of a job, and ask it rows that it did not learn from."""
    reports = _export(config, learnt / "model", learnt / "model", out, progress)
    for name in (JOB_FILE, WORDS_FILE, "validation.jsonl"):
        if (learnt / name).exists():
            shutil.copyfile(learnt / name, out / name)
    rows = [row for part in ("validation", "test") for row in read_jsonl(examples / f"{part}.jsonl")]
    parity = check_job(learnt / "model", out, rows, config, progress, seed=seed)
    write_jsonl(out / "parity.jsonl", parity["items"])
    return _write_facts(parity, reports, out)


def _export(
    config: PackageConfig, trained: Path, tokenizer: Path, out: Path, progress: Progress
) -> list[GgufReport]:
    """Write `model/` and a GGUF file of each format."""
    _save(trained, tokenizer, out / "model", config.precision)
    reports: list[GgufReport] = []
    with progress.task("gguf", len(config.formats), "files") as advance:
        for format, path in _ggufs(config, out).items():
            reports.append(write_gguf(trained, path, format))
            advance(1)
    return reports


def _ggufs(config: PackageConfig, out: Path) -> dict[str, Path]:
    return {format: out / "gguf" / f"model-{format}.gguf" for format in config.formats}


def _write_facts(parity: dict[str, Any], reports: list[GgufReport], out: Path) -> dict[str, float]:
    """Write `parity.json` and return its main figures."""
    facts = {
        "formats": parity["formats"],
        "tensors": {report.format: report.types for report in reports},
        "substituted": [substitute for report in reports for substitute in report.substituted],
        "notes": parity["notes"],
    }
    write_json(out / "parity.json", facts)
    return _statistics(facts["formats"])


def _save(trained: Path, tokenizer_dir: Path, out: Path, precision: str) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    with atomic_path(out) as partial:
        save_model(load_model(trained), tokenizer, partial, precision)
        save_tokenizer(tokenizer, partial)


def _statistics(formats: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{name}_{format}": float(figures[name])
        for format, figures in formats.items()
        for name in ("bytes", "mean_kl", "top1", "label_kl", "same_label")
        if name in figures
    }
