"""Read the examples of each job, and divide them into learnt, validation and test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tinsmith.base.assets import resolve_model
from tinsmith.base.files import JsonObject, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.jobs.ask import SEPARATOR
from tinsmith.jobs.asks import asks_of, prompt_of
from tinsmith.jobs.example import Example, Examples
from tinsmith.jobs.examples import Sides, divide
from tinsmith.jobs.prepare import prepare
from tinsmith.jobs.records import Record, read_records
from tinsmith.jobs.schema import read_schema
from tinsmith.jobs.spec import Job, read_job
from tinsmith.recipe import JobConfig
from tinsmith.stages.examples import Settings
from tinsmith.stages.stage import Inputs
from tinsmith.tokens.tasks import read_meta

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_AROUND = 16  # tokens around input, question and answer
_BATCH = 256  # documents in memory at one time
PARTS = ("learn", "validation", "test")


def examples(
    config: tuple[JobConfig, ...],
    *,
    settings: Settings,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Write `JOB/{job.json,learn.jsonl,validation.jsonl,test.jsonl}` for each job, `rejects.jsonl` and `notes.jsonl`.

    Raises RecipeError for files and fields that are not there, CorpusError where too few examples are left.
    """
    statistics: dict[str, float] = {}
    rejects: list[JsonObject] = []
    notes: list[JsonObject] = []
    for job in config:
        found = divide(_read(job, inputs), seed)
        _write(job, found, out / job.name)
        _note_cut(found, read_job(out / job.name), partial(_tokenizer, job, settings, inputs), seed)
        rejects += [{"job": job.name, **asdict(reject)} for reject in found.rejects]
        notes += [{"job": job.name, **asdict(note)} for note in found.notes]
        statistics |= _statistics(job, found)
        counts = ", ".join(f"{len(getattr(found, part)):,} {part}" for part in PARTS)
        progress.say(f"examples: {job.name}: {counts}")
    write_jsonl(out / "rejects.jsonl", rejects)
    write_jsonl(out / "notes.jsonl", notes)
    return statistics


def _read(job: JobConfig, inputs: Inputs) -> Sides:
    """Return the examples of a job's files; without files, those of the documents."""
    sides = Sides(job, documents=not job.examples)
    if not job.examples:
        for part, test in (("train", False), ("held_out", True)):
            sides.add(_documents(inputs["refine"] / "documents.parquet", part), test=test)
        return sides
    for names, test in ((job.examples, False), (job.test, True)):
        for name in names:
            sides.add(read_records(name), test=test)
    return sides


def _tokenizer(job: JobConfig, settings: Settings, inputs: Inputs) -> PreTrainedTokenizerFast:
    from tinsmith.tokens.tokenizer import load_base_tokenizer, load_tokenizer

    if job.start == "documents":
        return load_tokenizer(inputs["tokenize"] / "tokenizer")
    return load_base_tokenizer(resolve_model(settings.base).path)[0]


def _note_cut(
    found: Examples, job: Job, open_tokenizer: Callable[[], PreTrainedTokenizerFast], seed: int
) -> None:
    """Note the inputs that are longer than the context. Those of an extraction are read in passages."""
    config = job.config
    rows = [example.to_row() for example in (*found.learn, *found.validation, *found.test)]
    answers = found.labels or [str(row["answer"]) for row in rows]
    answers = [SEPARATOR.join(answers)] if config.several else answers
    around = max(len(answer.encode()) for answer in answers) + _AROUND
    # A token has at least one byte, so most rows need no tokenizer here.
    long = [row for row in rows if len(f"{row['input']}{config.asked}".encode()) + around > config.context]
    if config.kind == "extract" or not long:
        return
    tokenizer = open_tokenizer()
    job, _ = prepare(job, [example.to_row() for example in found.learn], tokenizer, seed=seed)
    cut = [row["id"] for row in long if prompt_of(job, tokenizer, asks_of(job, row, tokenizer)[0]).left_out]
    found.note(
        "cut",
        f"{len(cut)} of {len(rows)} inputs are longer than the context of {config.context} tokens; their "
        f"{config.keep} is kept.",
        cut,
    )


def _documents(path: Path, part: str) -> Iterator[Record]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(
            _BATCH, columns=["doc_id", "text", "source", "meta", "cluster", "part"]
        ):
            for row in batch.to_pylist():
                if row["part"] == part:
                    own = {name: row[name] for name in ("text", "doc_id", "cluster")}
                    yield Record(row["source"], 0, read_meta(row["meta"]) | own)


def _write(job: JobConfig, found: Examples, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    # A schema is kept as a table, since its file is not part of the bundle.
    schema = {"json_schema": read_schema(job)} if job.json_schema else {}
    Job(config=job.model_copy(update=schema), labels=found.labels).write(out)
    for part in PARTS:
        rows: list[Example] = getattr(found, part)
        write_jsonl(out / f"{part}.jsonl", (example.to_row() for example in rows))


def _statistics(job: JobConfig, found: Examples) -> dict[str, float]:
    sizes = {part: len(getattr(found, part)) for part in (*PARTS, "rejects", "labels")}
    return {f"{job.name}_{name}": float(size) for name, size in sizes.items()}
