"""What a bundle holds of its jobs beside their figures: how each was learnt, notes on its examples, its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinsmith.base.files import JsonObject, read_json, read_jsonl
from tinsmith.recipe import JobConfig, Recipe
from tinsmith.report.job_schema import JobFiles, JobNote, LearningPoint, Suspect, Trial

FOLDER = "jobs"
_SHOWN = 20  # rows that look mislabelled
_CHARACTERS = 300  # of the text of such a row


def read_jobs(bundle: Path, recipe: Recipe, statistics: Mapping[str, JsonObject]) -> tuple[JobFiles, ...]:
    """Return what a bundle holds of each job of its recipe; `statistics` are those of the stages."""
    return tuple(_read_job(bundle, job, statistics.get("examples", {})) for job in recipe.jobs)


def _read_job(bundle: Path, job: JobConfig, counts: JsonObject) -> JobFiles:
    folder = bundle / FOLDER / job.name
    calibration = read_json(folder / "job.json")["calibration"] if (folder / "job.json").is_file() else {}
    suspects = _rows(folder / "suspects.jsonl")
    rejects = read_json(folder / "rejects.json") if (folder / "rejects.json").is_file() else {}
    files = sorted((folder / "gguf").glob("*.gguf"), key=lambda path: -path.stat().st_size)
    return JobFiles(
        job=job.name,
        kind=job.kind,
        asked=job.asked,
        start=job.start,
        ask_a_person=job.ask_a_person,
        checks=job.checks,
        temperature=calibration.get("temperature"),
        least_confidence=calibration.get("least_confidence"),
        learnt=counts.get(f"{job.name}_learn"),
        validated=counts.get(f"{job.name}_validation"),
        curve=tuple(LearningPoint.model_validate(row) for row in _rows(folder / "curve.jsonl")),
        search=tuple(Trial.model_validate(row) for row in _rows(folder / "search.jsonl")),
        suspects=tuple(Suspect.model_validate(_cut(row)) for row in suspects[:_SHOWN]),
        suspected=len(suspects),
        notes=tuple(JobNote.model_validate(row) for row in _rows(folder / "notes.jsonl")),
        rejects=rejects,
        exports={str(path.relative_to(bundle)): path.stat().st_size for path in files},
        parity=read_json(folder / "parity.json") if (folder / "parity.json").is_file() else {},
    )


def _rows(path: Path) -> list[JsonObject]:
    return list(read_jsonl(path)) if path.is_file() else []


def _cut(row: JsonObject) -> JsonObject:
    return row | {"input": row["input"][:_CHARACTERS]}
