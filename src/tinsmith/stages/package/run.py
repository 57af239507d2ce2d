"""Export the trained model as safetensors and GGUF files, and prove that the exports equal it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from tinsmith.base.files import atomic_path, write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.gguf.writer import GgufReport, write_gguf
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.parity.gate import check_parity
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
    """Write `model/`, `gguf/model-FORMAT.gguf`, `parity.json` and `items/parity.jsonl`.

    Raises AssetError for a model that a format cannot store, CorpusError without usable held-out text, ParityError if
    an export differs from the trained model by more than its bounds.
    """
    trained = inputs["train"] / "model"
    held_out = pq.read_table(inputs["split"] / "documents.parquet", filters=[("part", "==", "held_out")])
    _save(trained, inputs["tokenize"] / "tokenizer", out / "model", config.precision)
    reports: list[GgufReport] = []
    with progress.task("gguf", len(config.formats), "files") as advance:
        for format in config.formats:
            reports.append(write_gguf(trained, out / "gguf" / f"model-{format}.gguf", format))
            advance(1)
    ggufs: dict[str, Path] = {format: out / "gguf" / f"model-{format}.gguf" for format in config.formats}
    texts = held_out["text"].to_pylist()
    parity = check_parity(trained, out / "model", ggufs, texts, config, progress, seed=seed)
    write_jsonl(out / "items" / "parity.jsonl", parity["items"])
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
        for name in ("bytes", "mean_kl", "top1")
    }
