"""Ask a job whose answers are written: our file as it is served, base and rivals in the same server."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tinsmith.base.errors import AssetError
from tinsmith.base.files import JsonObject
from tinsmith.base.progress import Progress
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evaluate.job_models import draw_shots, shown_before
from tinsmith.evaluate.models import EvalModel
from tinsmith.evidence.items import JobQuestion
from tinsmith.gguf.writer import write_gguf
from tinsmith.jobs.answers import UNREADABLE
from tinsmith.jobs.spec import Calibration, Job
from tinsmith.serve.job_model import JobAnswer, JobModel, trained_context
from tinsmith.stages.evaluate.job_store import Answers, metered
from tinsmith.stages.evaluate.job_work import JobWork, OpenModel

FILES = (
    "untaught"  # folder of the stage for GGUF files of models that come as directories; nothing of it is kept
)
_FORMAT = "f16"  # of these files
_ROWS_AT_ONCE = 16  # after which progress is told


def answered(
    model: JobModel,
    grader: Grader,
    rows: Sequence[JsonObject],
    questions: Sequence[JobQuestion],
    progress: Progress,
) -> Answers:
    """Return what an open model answers, with its confidence. A withheld answer counts as unreadable."""
    asked = [{"input": row["input"], "record": row.get("record", {})} for row in rows]
    answers: list[JobAnswer] = []
    with metered() as cost, progress.task("rows", len(asked), "rows") as advance:
        for start in range(0, len(asked), _ROWS_AT_ONCE):
            answers += model.answer(asked[start : start + _ROWS_AT_ONCE])
            advance(len(answers) - start)
    said = [
        grader.said(
            question,
            UNREADABLE if found.withheld else found.answer,
            sure=found.confidence,
            tries=found.tries,
        )
        for question, found in zip(questions, answers, strict=True)
    ]
    return Answers(said, cost)


def obstacle(work: JobWork, model: OpenModel, shots: int, *, seed: int, out: Path) -> str:
    """Say why llama.cpp cannot be asked a job after so many examples, or nothing."""
    try:
        gguf = _gguf_of(model, out)
    except AssetError as error:
        return error.what
    room = work.job.config.context + len(_shown(work, model, shots, seed))
    most = trained_context(gguf)
    return f"prompts of {room} tokens do not fit into its context of {most}" if room > most else ""


def ask_untaught(
    work: JobWork, model: OpenModel, shots: int, *, seed: int, out: Path, progress: Progress
) -> Answers:
    """Ask a model that did not learn a job, after some examples or without, under the grammars of our own file."""
    job, shown = _untaught(work), _shown(work, model, shots, seed)
    with JobModel.untaught(job, _gguf_of(model, out), model.tokenizer, shown) as opened:
        return replace(answered(opened, Grader(job), *work.few(), progress), calibration=job.calibration)


def _untaught(work: JobWork) -> Job:
    return work.job.model_copy(update={"calibration": Calibration()})


def _shown(work: JobWork, model: OpenModel, shots: int, seed: int) -> Sequence[int]:
    if not shots:
        return ()
    return shown_before(model.tokenizer, _untaught(work), draw_shots(work.learn, shots, seed=seed))


def _gguf_of(model: OpenModel, out: Path) -> Path:
    return model.model.gguf or _written(model.model, out)


def _written(model: EvalModel, out: Path) -> Path:
    path = out / FILES / f"{model.subject}.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_gguf(model.path, path, _FORMAT)
    return path


def drop_files(out: Path) -> None:
    """Remove the GGUF files that were written to ask with."""
    shutil.rmtree(out / FILES, ignore_errors=True)
