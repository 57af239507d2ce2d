"""How much a job reads: its rows and about how many tokens they have, counted in its files without a tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinsmith.jobs.records import Record, read_records
from tinsmith.jobs.rendering import NoExample, Rendering
from tinsmith.jobs.schema import fields_of
from tinsmith.recipe import JobConfig

BYTES_PER_TOKEN = 4.0  # of text in English, in the tokenizers of small models
_AROUND = 8  # tokens between the parts of a prompt, and of a short answer
_ASKED_AGAIN = 16  # tokens of the question and the answer of a field, for each passage
# A token that is written costs as much as so many that are read: they are written one by one.
WRITTEN = 8


@dataclass(frozen=True)
class JobSize:
    """Rows that are learnt from (the validation part included) and asked, and mean tokens of one as read and as asked.

    `written` are the tokens of an answer that is generated; labels are read.
    """

    learnt: int
    asked: int
    tokens: float
    written: float = 0.0

    @property
    def learnt_tokens(self) -> float:
        """Return the tokens of one pass over the examples."""
        return self.learnt * (self.tokens + self.written)

    @property
    def asked_tokens(self) -> float:
        """Return what a row of the test costs, in tokens that are read."""
        return self.tokens + WRITTEN * self.written


def job_size(job: JobConfig) -> JobSize | None:
    """Return the size of a job; None where it learns from documents, or its files hold no usable row.

    Raises RecipeError for a file that cannot be read.
    """
    if not job.examples:
        return None
    files = [Path(name).expanduser() for name in (*job.examples, *job.test)]
    stamps = tuple(
        (str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()
    )
    return _counted(job.model_dump_json(), stamps)


@cache
def _counted(dumped: str, stamps: tuple[tuple[str, int, int], ...]) -> JobSize | None:
    job = JobConfig.model_validate_json(dumped)
    rows = [_tokens(job, job.examples), _tokens(job, job.test)]
    learnt, tested = ([*each] for each in rows)
    every = [*learnt, *tested]
    if not every:
        return None
    held_out = 0 if job.test else round(job.held_out * len(learnt))
    read, written = (sum(values) / len(every) for values in zip(*every, strict=True))
    return JobSize(len(learnt) - held_out, len(tested) or held_out, read, written)


def _tokens(job: JobConfig, names: tuple[str, ...]) -> Iterator[tuple[float, float]]:
    """Yield for each usable row the tokens that are read, and those that are written."""
    rendering = Rendering(job)
    fields = len(fields_of(job)) if job.kind == "extract" else 0
    for name in names:
        for record in read_records(name):
            if not isinstance(record, Record):
                continue
            try:
                asked = rendering.input(record.fields) + rendering.question(record.fields)
            except NoExample:
                continue
            whole = len(asked.encode()) / BYTES_PER_TOKEN + _AROUND
            if job.kind == "extract":
                # A long text is read in passages; each of them is asked for the fields.
                passages = max(1.0, whole / (0.6 * job.context))
                yield whole + passages * fields * _ASKED_AGAIN, 0.0
                continue
            answer = len(rendering.text_answer(record.fields).encode()) / BYTES_PER_TOKEN
            written = answer if job.kind in ("answer", "write") else 0.0
            yield min(whole, job.context - min(written, job.context / 2)), min(written, job.context / 2)
