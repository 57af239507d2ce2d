"""Gather from finished stages what a bundle keeps: model, items, manifests, the small facts of the page."""

from __future__ import annotations

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tinsmith.base.files import list_files, read_json, read_jsonl, write_json
from tinsmith.base.progress import Progress
from tinsmith.recipe import Recipe
from tinsmith.report.curation import collect_curation

LINKED = (
    ("package", "model", "model"),
    ("package", "gguf", "gguf"),
    ("package", "items", "items"),
    ("evaluate", "items", "items"),
)
COPIED = (
    ("curate", "funnel.jsonl"),
    ("split", "shared.jsonl"),
    ("train", "log.jsonl"),
    ("train", "schedule.jsonl"),
    ("train", "rollbacks.jsonl"),
    ("train", "streamline.json"),
    ("package", "parity.json"),
    ("evaluate", "metrics.json"),
)
EXAMPLES_PER_REASON = 3
OVERLAP_EDGES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)


def collect(recipe: Recipe, runs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Fill `out` from the stages' directories. What a stage did not write is left out; the page says so."""
    write_json(out / "recipe.json", recipe.model_dump(mode="json"))
    for stage, directory in runs.items():
        if (manifest := directory / "manifest.json").is_file():
            place(manifest, out / "manifests" / f"{stage}.json", link=False)
    for stage, source, target in LINKED:
        if stage in runs:
            _link_tree(runs[stage] / source, out / target)
    for stage, name in COPIED:
        if stage in runs and (runs[stage] / name).is_file():
            place(runs[stage] / name, out / "data" / name, link=False)
    progress.say("  summarising documents")
    _summarise(runs, out / "data")
    collect_curation(runs, out / "data" / "curation")


def place(source: Path, target: Path, *, link: bool) -> None:
    """Put a file in place: a hard link where asked for and possible (same file system), else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if link:
        try:
            os.link(source, target)
            return
        except OSError:
            # Another file system, or one without links: the copy below serves as well.
            pass
    shutil.copyfile(source, target)


def _link_tree(source: Path, target: Path) -> None:
    for name in list_files(source):
        place(source / name, target / name, link=True)


def _summarise(runs: dict[str, Path], data: Path) -> None:
    if "ingest" in runs and (runs["ingest"] / "files.jsonl").is_file():
        write_json(data / "files.json", summarise_files(read_jsonl(runs["ingest"] / "files.jsonl")))
    if "split" in runs and (runs["split"] / "documents.parquet").is_file():
        write_json(data / "documents.json", _summarise_documents(runs["split"] / "documents.parquet"))
    if "split" in runs and (runs["split"] / "overlap.parquet").is_file():
        write_json(data / "overlap.json", _summarise_overlap(runs["split"] / "overlap.parquet"))


def summarise_files(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Count files, bytes and documents; dropped ones by reason with a few examples, all by type."""
    totals: Counter[str] = Counter()
    types: Counter[str] = Counter()
    reasons: dict[str, dict[str, Any]] = {}
    for row in rows:
        totals.update(
            {"files": 1, "bytes": row["bytes"], row["status"]: 1, "documents": row.get("documents") or 0}
        )
        types[row.get("mime") or "unknown"] += 1
        if row["status"] == "dropped":
            reason = row.get("reason") or "no reason given"
            entry = reasons.setdefault(reason, {"reason": reason, "files": 0, "bytes": 0, "examples": []})
            entry["files"] += 1
            entry["bytes"] += row["bytes"]
            entry["examples"] += [row["source"]] * (len(entry["examples"]) < EXAMPLES_PER_REASON)
    dropped = sorted(reasons.values(), key=lambda entry: (-entry["files"], entry["reason"]))
    counts = {name: totals[name] for name in ("files", "read", "dropped", "bytes", "documents")}
    return {**counts, "types": _ranked(types), "reasons": dropped}


def _summarise_documents(path: Path) -> dict[str, Any]:
    parts: dict[str, Counter[str]] = {}
    licences: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    columns = [name for name in ("part", "text", "licence", "language") if name in pq.read_schema(path).names]
    # In batches, since the text of a large corpus does not fit into memory.
    for batch in pq.ParquetFile(path).iter_batches(batch_size=1024, columns=columns):
        for row in batch.to_pylist():
            size = len(row["text"].encode("utf-8", "surrogatepass"))
            parts.setdefault(row["part"], Counter()).update({"documents": 1, "bytes": size})
            licences[row.get("licence") or "not stated"] += 1
            languages[row.get("language") or "not stated"] += 1
    return {
        "parts": [{"part": part, **counts} for part, counts in sorted(parts.items(), reverse=True)],
        "licences": _ranked(licences),
        "languages": _ranked(languages),
    }


def _summarise_overlap(path: Path) -> dict[str, Any]:
    shares = [float(value) for value in pq.read_table(path, columns=["overlap"])["overlap"].to_pylist()]
    bins = []
    for low, high in itertools.pairwise(OVERLAP_EDGES):
        inside = sum(low <= share < high or (share == high == 1.0) for share in shares)
        bins.append({"low": low, "high": high, "documents": inside})
    ordered = sorted(shares)
    return {
        "documents": len(shares),
        "mean": sum(shares) / len(shares) if shares else 0.0,
        "median": ordered[len(ordered) // 2] if ordered else 0.0,
        "highest": ordered[-1] if ordered else 0.0,
        "bins": bins,
    }


def _ranked(counts: Counter[str]) -> list[dict[str, Any]]:
    return [{"name": n, "count": c} for n, c in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def read_if_there(path: Path) -> Any:
    """Return a JSON file's value or a JSON Lines file's rows; None where the file is missing."""
    if not path.is_file():
        return None
    return list(read_jsonl(path)) if path.suffix == ".jsonl" else read_json(path)
