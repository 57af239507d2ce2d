"""Answer every row of a file, or every document of a folder, with a finished job: `tinsmith run`.

Answered rows are appended to a partial file beside the output, in order, as JSON Lines. Its first line says which
input, model and options they belong to. A run that was stopped goes on behind its last whole row, and in the end the
partial file becomes the output.
"""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinsmith.base.errors import BundleError, RunError
from tinsmith.base.files import JsonObject, read_jsonl, sha256_file, sha256_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.base.tables import ENDINGS, write_table
from tinsmith.corpus.readers.pool import FileLimits, read_files
from tinsmith.corpus.readers.sources import find_files
from tinsmith.jobs.calibration import answer_confidence, least_confidence
from tinsmith.jobs.records import Record, Reject, read_records
from tinsmith.jobs.rendering import NoExample, Rendering
from tinsmith.jobs.spec import Job
from tinsmith.serve.find_bundle import expect_bundle
from tinsmith.serve.job_model import JobAnswer, JobModel, choose_job

BATCH = 128  # rows that are answered, and kept, together
_REMEMBERED = 100_000  # answers kept in memory for rows that ask the same


@dataclass(frozen=True)
class Options:
    """What a person may choose: the job by name, the GGUF format, the share that must be right, what is written."""

    job: str = ""
    format: str | None = None
    ask_a_person: float | None = None
    probabilities: bool = False


@dataclass(frozen=True)
class Ran:
    """How many rows there were, and of them: asked again like an earlier one, for a person, without an answer.

    `rejects` counts the parts of the input that gave no row, or a row without an input or a question, by reason.
    """

    rows: int
    repeated: int
    for_a_person: int
    withheld: int
    rejects: dict[str, int]
    rejects_file: Path


def run_job(bundle: Path, source: Path, output: Path, options: Options, progress: Progress) -> Ran:
    """Answer CSV, JSON Lines, JSON, Parquet or a folder of documents into CSV, JSON Lines or Parquet, by its ending.

    The output has the input's columns, then JOB, JOB_confidence, JOB_ask_a_person and JOB_withheld, the reason where no
    answer is given. OUTPUT.rejects.jsonl names what could not be asked. Raises BundleError, RecipeError, RunError.
    """
    _check_paths(bundle, source, output)
    directory = choose_job(bundle, options.job)
    model = JobModel(directory, options.format, bulk=True)
    if options.ask_a_person is not None:
        model.job = with_share(model.job, directory, options.ask_a_person)
    table = _Table(source, model.job, options.probabilities)
    partial = output.with_name(f".{output.name}.partial.jsonl")
    asked = {"job": model.job.model_dump(mode="json"), "probabilities": options.probabilities}
    print_of = {"input": _input_hash(source), "model": sha256_file(model.gguf), "asked": sha256_json(asked)}
    with _told_when_full(output):
        done = _resume(partial, print_of, progress)
        _answer_all(table, model, partial, done, progress)
        rejects_file = output.with_name(f"{output.name}.rejects.jsonl")
        ran = _finish(table, partial, output, rejects_file)
    partial.unlink()
    return ran


def with_share(job: Job, directory: Path, share: float) -> Job:
    """Return a job that leaves to a person what is likely to be wrong, so that `share` of its answers are right.

    The threshold is chosen on the validation part, as when the job was learnt. Raises RunError without its answers.
    """
    file, where = directory / "validation.jsonl", "--ask-a-person"
    if not 0 <= share < 1:
        raise RunError(f"{share:g} is not a share of answers", where=where, next_step="give 0.9 or the like")
    if not file.is_file():
        raise RunError(
            "the bundle does not hold how the validation part was answered",
            where=where,
            next_step="set the job's `ask_a_person` in the recipe and build again",
        )
    if job.config.kind == "write":
        raise RunError(
            "does not apply to texts, of which several may be right",
            where=where,
            next_step="leave it out; the checks of the job withhold texts",
        )
    # How surely the right answer was given says nothing of a wrong one, so rows must tell what was answered.
    rows = [row for row in read_jsonl(file) if "confidence" in row or "said" in row]
    if not rows:
        raise RunError(
            "the bundle does not hold how surely the validation part was answered",
            where=where,
            next_step="build it again with this version",
        )
    sure = [
        row["confidence"] if "confidence" in row else answer_confidence(job, math.exp(row["said"]))
        for row in rows
    ]
    least, _ = least_confidence(sure, [row["correct"] for row in rows], share)
    calibration = job.calibration.model_copy(update={"least_confidence": least})
    return job.model_copy(update={"calibration": calibration})


def _check_paths(bundle: Path, source: Path, output: Path) -> None:
    expect_bundle(bundle)
    if not bundle.is_dir():
        raise BundleError(
            "does not exist", where=str(bundle), next_step="give the directory that tinsmith build made"
        )
    if not source.exists():
        raise RunError("does not exist", where=str(source), next_step="check the path of the input")
    if output.suffix.lower() not in ENDINGS:
        raise RunError(
            "is of no kind that can be written",
            where=str(output),
            next_step=f"end it in {', '.join(ENDINGS)}",
        )
    if output.is_dir() or (output.exists() and output.samefile(source)):
        raise RunError("would replace the input", where=str(output), next_step="name another file after -o")
    if not output.parent.is_dir():
        raise RunError("does not exist", where=str(output.parent), next_step="create the directory first")


def _input_hash(source: Path) -> str:
    if source.is_file():
        return sha256_file(source)
    files = [(file.source, file.path.stat()) for file in find_files([str(source.resolve())]).files]
    return sha256_json([[name, found.st_size, found.st_mtime_ns] for name, found in files])


class _Table:
    """The rows of an input, and what a job makes of them."""

    def __init__(self, source: Path, job: Job, probabilities: bool) -> None:
        self.source, self.probabilities = source, probabilities
        self.config = job.config
        self.rendering = Rendering(job.config)

    def records(self) -> Iterator[Record | Reject]:
        """Yield the rows of a file, or the documents of a folder, in order."""
        return (
            _documents(self.source) if self.source.is_dir() else self._checked(read_records(str(self.source)))
        )

    def asked(self, record: Record) -> JsonObject:
        """Return the row that the model is asked. Raises NoExample for a record without an input or a question."""
        return self.rendering.asked(record.fields)

    def key(self, row: JsonObject) -> str:
        """Return a hash of all that the answer to a row depends on: checks and questions may name any field."""
        whole = self.config.checks or self.rendering.fields["question"]
        return sha256_json(row if whole else row["input"])

    def columns(self, answer: JobAnswer) -> JsonObject:
        """Return an answer as columns, whose names follow on the job's."""
        found: JsonObject = {
            "": answer.answer,
            "_confidence": None if answer.confidence is None else round(answer.confidence, 6),
            "_ask_a_person": answer.ask_a_person,
            "_withheld": answer.withheld,
        }
        if answer.left_out:
            found["_tokens_left_out"] = answer.left_out
        if answer.fields:
            found["_fields"] = {
                name: [value.as_dict() for value in values] for name, values in answer.fields.items()
            }
        if self.probabilities:
            found |= {f"_p_{label}": round(value, 6) for label, value in answer.probabilities.items()}
        return found

    def _checked(self, records: Iterator[Record | Reject]) -> Iterator[Record | Reject]:
        """Refuse an input whose first rows lack a field that the job reads."""
        first = list(itertools.islice(records, BATCH))
        known = dict.fromkeys(
            name for record in first if isinstance(record, Record) for name in record.fields
        )
        if known:
            self.rendering.check_fields(list(known), roles=("input", "question"), source=str(self.source))
        return itertools.chain(first, records)


def _documents(folder: Path) -> Iterator[Record | Reject]:
    files = find_files([str(folder.resolve())]).files
    for file, (result, _) in zip(files, read_files([file.path for file in files], FileLimits()), strict=True):
        name = str(file.path.relative_to(folder.resolve()))
        if result.reason:
            yield Reject(name, 1, result.reason, result.detail)
        for loss in result.lost:
            yield Reject(name, 1, loss["reason"], f"{loss['part']} {loss['detail']}".strip())
        for number, document in enumerate(result.documents, 1):
            yield Record(name, number, {**document["meta"], "text": document["text"]})


def _resume(partial: Path, print_of: JsonObject, progress: Progress) -> int:
    """Return how many rows of the partial file are done; begin a new file where it belongs to something else."""
    if partial.exists():
        with partial.open("rb") as file:
            # A row that a kill cut off is asked again.
            whole = [len(line) for line in file if line.endswith(b"\n")]
        if whole and next(read_jsonl(partial)) == print_of:
            os.truncate(partial, sum(whole))
            progress.say(f"going on after {len(whole) - 1:,} rows that were answered before")
            return len(whole) - 1
        progress.say(
            "the answers that an earlier run left are of another input, model or option: starting over"
        )
    write_jsonl(partial, [print_of])
    return 0


def _answer_all(table: _Table, model: JobModel, partial: Path, done: int, progress: Progress) -> None:
    """Append a line to the partial file for every record behind the first `done`, a batch at a time."""
    total = None if table.source.is_dir() else float(sum(1 for _ in table.records()))
    if total is not None and done >= total:
        return
    records, known = table.records(), dict[str, JsonObject]()
    before = itertools.islice(read_jsonl(partial), 1, None)
    for record, line in zip(itertools.islice(records, done), before):
        if isinstance(record, Record) and "columns" in line:
            known[table.key(table.asked(record))] = line["columns"]
    with model, partial.open("a", encoding="utf-8") as file, progress.task("rows", total, "rows") as advance:
        advance(done)
        while batch := list(itertools.islice(records, BATCH)):
            lines = _answer_batch(table, model, batch, known)
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            file.flush()
            advance(len(batch))


def _answer_batch(
    table: _Table, model: JobModel, batch: Sequence[Record | Reject], known: dict[str, JsonObject]
) -> list[JsonObject]:
    """Return a line for each record: its fields and the columns of its answer, or why it was not asked."""
    lines: list[JsonObject] = []
    fresh: dict[str, JsonObject] = {}
    for record in batch:
        line: JsonObject = {"source": record.source, "row": record.row}
        if isinstance(record, Reject):
            lines.append(line | {"reason": record.reason, "detail": record.detail})
            continue
        line["fields"] = (
            {"source": record.source, "document": record.row} if table.source.is_dir() else record.fields
        )
        try:
            row = table.asked(record)
        except NoExample as found:
            lines.append(line | {"reason": found.reason, "detail": found.detail})
            continue
        key = table.key(row)
        lines.append(line | {"key": key, "repeated": key in known or key in fresh})
        if not lines[-1]["repeated"]:
            fresh[key] = row
    answers = model.answer(list(fresh.values()))
    found_now = {key: table.columns(answer) for key, answer in zip(fresh, answers, strict=True)}
    for line in lines:
        if "key" in line:
            key = line.pop("key")
            line["columns"] = found_now.get(key) or known[key]
    for key, columns in found_now.items():
        if len(known) < _REMEMBERED:
            known[key] = columns
    return lines


def _finish(table: _Table, partial: Path, output: Path, rejects_file: Path) -> Ran:
    """Make the output and the list of rejects from the partial file."""
    counts, rejects, names = Counter[str](), list[JsonObject](), dict[str, None]()
    for line in _lines(partial):
        names |= dict.fromkeys(line.get("fields", ()))
        if "reason" in line:
            rejects.append({name: line[name] for name in ("source", "row", "reason", "detail")})
        columns = line.get("columns", {})
        counts.update(
            rows="fields" in line,
            repeated=line.get("repeated", False),
            for_a_person=columns.get("_ask_a_person", False),
            withheld=bool(columns.get("_withheld")),
        )
    # A column of the input may be called as the job is, such as the labels of a test.
    job = table.config.name if table.config.name not in names else f"{table.config.name}_answer"

    def rows() -> Iterator[JsonObject]:
        for line in _lines(partial):
            if "fields" in line:
                columns = line.get("columns") or _unasked(line)
                yield line["fields"] | {f"{job}{name}": value for name, value in columns.items()}

    write_table(output, rows)
    if rejects:
        write_jsonl(rejects_file, rejects)
    else:
        rejects_file.unlink(missing_ok=True)
    reasons = dict(Counter(reject["reason"] for reject in rejects).most_common())
    return Ran(
        counts["rows"],
        counts["repeated"],
        counts["for_a_person"],
        counts["withheld"],
        reasons,
        rejects_file,
    )


def _unasked(line: JsonObject) -> JsonObject:
    return {
        "": None,
        "_confidence": None,
        "_ask_a_person": True,
        "_withheld": line["detail"] or line["reason"],
    }


def _lines(partial: Path) -> Iterator[JsonObject]:
    return itertools.islice(read_jsonl(partial), 1, None)


@contextmanager
def _told_when_full(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(
            "the disk is full; the rows that were answered are kept",
            where=str(output.parent),
            next_step="free some space and run the same command again",
        ) from error
