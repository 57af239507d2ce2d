"""Gather from finished stages what a bundle keeps: model, items, manifests, and small summaries of large tables."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from tinsmith.base.files import JsonObject, list_files, read_jsonl, write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.recipe import Recipe
from tinsmith.report.curation import collect_curation
from tinsmith.report.job_schema import JobNote
from tinsmith.report.jobs import FOLDER
from tinsmith.report.schema import Count, DocumentPart, Documents, DroppedFiles, Files
from tinsmith.report.sent import SENDERS

_LINKED = (
    ("package", "model", "model"),
    ("package", "gguf", "gguf"),
    ("package", "items", "items"),
    ("evaluate", "items", "items"),
)
_COPIED = (
    ("curate", "funnel.jsonl"),
    ("split", "shared.jsonl"),
    ("split", "overlap.parquet"),
    ("train", "log.jsonl"),
    ("train", "schedule.jsonl"),
    ("train", "runtime.json"),
    ("train", "rollbacks.jsonl"),
    ("train", "streamline.json"),
    ("package", "parity.json"),
    ("evaluate", "metrics.json"),
)
_LEARNT = ("curve.jsonl", "search.jsonl", "suspects.jsonl")  # of each job
_EXAMPLES_PER_REASON = 3


def collect(recipe: Recipe, runs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Fill `out` from the stages' directories. What a stage did not write is left out; the page says so."""
    write_json(out / "recipe.json", recipe.model_dump(mode="json"))
    for stage, directory in runs.items():
        if (manifest := directory / "manifest.json").is_file():
            place(manifest, out / "manifests" / f"{stage}.json", link=False)
    for stage, source, target in _LINKED:
        if stage in runs:
            _link_tree(runs[stage] / source, out / target)
    for stage, name in _COPIED:
        if stage in runs and (runs[stage] / name).is_file():
            place(runs[stage] / name, out / "data" / name, link=False)
    for stage in SENDERS:
        if stage in runs and (sent := runs[stage] / "sent.json").is_file():
            place(sent, out / "data" / "sent" / f"{stage}.json", link=False)
    _collect_jobs(recipe, runs, out / FOLDER)
    if recipe.ingest.sources:
        progress.say("  summarising documents")
        _summarise(runs, out / "data")
        collect_curation(runs, out / "data" / "curation")


def _collect_jobs(recipe: Recipe, runs: dict[str, Path], out: Path) -> None:
    """Fill `out/JOB/` from package, learn and examples; of what gave no example only the counts by reason."""
    notes, rejects = (
        [*read_jsonl(path)] if "examples" in runs and (path := runs["examples"] / name).is_file() else []
        for name in ("notes.jsonl", "rejects.jsonl")
    )
    for job in recipe.jobs:
        target = out / job.name
        if "package" in runs:
            _link_tree(runs["package"] / FOLDER / job.name, target)
        for name in _LEARNT:
            if "learn" in runs and (path := runs["learn"] / job.name / name).is_file():
                place(path, target / name, link=False)
        told = [JobNote.model_validate(row) for row in notes if row["job"] == job.name]
        write_jsonl(target / "notes.jsonl", [note.model_dump() for note in told])
        reasons = Counter(row["reason"] for row in rejects if row["job"] == job.name)
        write_json(target / "rejects.json", dict(sorted(reasons.items())))


def place(source: Path, target: Path, *, link: bool) -> None:
    """Put a file in place: with `link` a hard link where the file system allows one, else a copy."""
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
    if "ingest" in runs and (path := runs["ingest"] / "files.jsonl").is_file():
        write_json(data / "files.json", summarise_files(read_jsonl(path)).model_dump(mode="json"))
    if "split" in runs and (path := runs["split"] / "documents.parquet").is_file():
        write_json(data / "documents.json", _summarise_documents(path).model_dump(mode="json"))


def summarise_files(rows: Iterable[JsonObject]) -> Files:
    """Count files, bytes and documents; dropped files and parts of files by reason with a few examples; all by type."""
    totals: Counter[str] = Counter()
    types: Counter[str] = Counter()
    files: Counter[str] = Counter()  # dropped, by reason
    parts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for row in rows:
        if row.get("part"):
            totals["parts"] += row["parts"]
            parts[row["reason"]] += row["parts"]
            shown = examples.setdefault(row["reason"], [])
            shown += [f"{row['source']}: {row['part']}"] * (len(shown) < _EXAMPLES_PER_REASON)
            continue
        totals.update(
            {"files": 1, "bytes": row["bytes"], row["status"]: 1, "documents": row.get("documents") or 0}
        )
        types[row.get("mime") or "unknown"] += 1
        if row["status"] == "dropped":
            reason = row.get("reason") or "no reason given"
            files[reason] += 1
            sizes[reason] += row["bytes"]
            shown = examples.setdefault(reason, [])
            shown += [row["source"]] * (len(shown) < _EXAMPLES_PER_REASON)
    return Files(
        **{name: totals[name] for name in ("files", "read", "dropped", "parts", "bytes", "documents")},
        types=_ranked(types),
        reasons=tuple(
            DroppedFiles(
                reason=row.name,
                files=files[row.name],
                parts=parts[row.name],
                bytes=sizes[row.name],
                examples=tuple(examples[row.name]),
            )
            for row in _ranked(files + parts)
        ),
    )


def _summarise_documents(path: Path) -> Documents:
    documents: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    columns = [name for name in ("part", "text", "licence", "language") if name in pq.read_schema(path).names]
    # In batches, since the text of a large corpus does not fit into memory.
    for batch in pq.ParquetFile(path).iter_batches(batch_size=1024, columns=columns):
        for row in batch.to_pylist():
            documents[row["part"]] += 1
            sizes[row["part"]] += len(row["text"].encode("utf-8", "surrogatepass"))
            licences[row.get("licence") or "not stated"] += 1
            languages[row.get("language") or "not stated"] += 1
    return Documents(
        parts=tuple(
            DocumentPart(part=part, documents=documents[part], bytes=sizes[part])
            for part in sorted(documents, reverse=True)
        ),
        licences=_ranked(licences),
        languages=_ranked(languages),
    )


def _ranked(counts: Counter[str]) -> tuple[Count, ...]:
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(Count(name=name, count=count) for name, count in ranked)
