"""Hand the trained model over as safetensors and GGUF files, and prove that they are what was trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from tinsmith.base.files import write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.gguf.writer import GgufReport, write_gguf
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.parity.gate import check_parity
from tinsmith.recipe import PackageConfig
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer


def package(
    config: PackageConfig,
    *,
    split: Path,
    tokenize: Path,
    train: Path,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Write `model/`, `gguf/model-FORMAT.gguf`, `parity.json` and `items/parity.jsonl`.

    Raises AssetError for a model that a format cannot hold, CorpusError without usable held-out text,
    ParityError where an export differs from the trained model by more than its bounds.
    """
    held_out = pq.read_table(split / "documents.parquet", filters=[("part", "==", "held_out")])
    _save(train / "model", tokenize / "tokenizer", out / "model", config.precision)
    reports: list[GgufReport] = []
    with progress.task("gguf", len(config.formats), "files") as advance:
        for format in config.formats:
            reports.append(write_gguf(train / "model", out / "gguf" / f"model-{format}.gguf", format))
            advance(1)
    ggufs: dict[str, Path] = {format: out / "gguf" / f"model-{format}.gguf" for format in config.formats}
    texts = held_out["text"].to_pylist()
    found = check_parity(train / "model", out / "model", ggufs, texts, config, progress, seed=seed)
    write_jsonl(out / "items" / "parity.jsonl", found["items"])
    facts = {
        "formats": found["formats"],
        "tensors": {report.format: report.types for report in reports},
        "substituted": [row for report in reports for row in report.substituted],
        "notes": found["notes"],
    }
    write_json(out / "parity.json", facts)
    return _statistics(facts["formats"])


def _save(trained: Path, tokenizer_dir: Path, out: Path, precision: str) -> None:
    # Renamed into place, so that what a kill leaves is never taken for a model.
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    tokenizer = load_tokenizer(tokenizer_dir)
    save_model(load_model(trained), tokenizer, partial, precision)
    save_tokenizer(tokenizer, partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def _statistics(formats: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{figure}_{format}": float(row[figure])
        for format, row in formats.items()
        for figure in ("bytes", "mean_kl", "top1")
    }
