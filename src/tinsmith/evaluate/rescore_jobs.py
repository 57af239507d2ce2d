"""Let the files of a bundle's jobs answer some test rows again, and compare with what is stored."""

from __future__ import annotations

import numpy as np

from tinsmith.base.errors import BundleError
from tinsmith.evaluate.job_grades import Grader, read_job_questions
from tinsmith.evaluate.job_models import prompt_ids
from tinsmith.evaluate.rescore import Rescored
from tinsmith.evidence.family import Items
from tinsmith.evidence.items import JobQuestion, JobRow
from tinsmith.evidence.schema import GGUF_SUBJECTS
from tinsmith.jobs.answers import UNREADABLE
from tinsmith.serve.job_model import JobModel

_SAMPLE = 20  # rows of each job
_SAME = 0.05  # of a probability: another processor rounds quantised weights otherwise
_DIFFERENT = 0.1  # of written answers may differ, since one token near a tie changes all that follow


def rescore_jobs(items: Items, *, seed: int | None = None) -> Rescored:
    """Ask each GGUF file that answered a job a sample of its rows again.

    A new sample is drawn each time unless a seed is given. Raises BundleError for answers that differ.
    """
    generator, count, subjects = np.random.default_rng(seed), 0, set()
    stored: dict[str, list[JobRow]] = items.rows("job", [*GGUF_SUBJECTS.values()])
    for name, questions in read_job_questions(items.folder).items():
        drawn = [questions[i] for i in sorted(generator.permutation(len(questions))[:_SAMPLE])]
        for format, subject in GGUF_SUBJECTS.items():
            rows = {row["id"]: row for row in stored.get(subject, []) if row["job"] == name}
            if rows:
                with JobModel(items.jobs / name, format, bulk=True) as model:
                    _ask_again(model, [(question, rows[question["id"]]) for question in drawn])
                count += len(drawn)
                subjects.add(subject)
    return Rescored(count, tuple(sorted(subjects)), "cpu")


def _ask_again(model: JobModel, pairs: list[tuple[JobQuestion, JobRow]]) -> None:
    grader, where = Grader(model.job), str(model.gguf)
    if all(row["log_p"] is not None for _, row in pairs):
        prompts = [prompt_ids(model.tokenizer, model.job, {**question}) for question, _ in pairs]
        for (question, row), log_p in zip(pairs, model.label_scores(prompts), strict=True):
            again, known = grader.chosen(question, log_p)["scores"] or {}, row["scores"] or {}
            # Written so that NaN is a difference.
            if not all(abs(again[label] - known.get(label, np.inf)) <= _SAME for label in again):
                raise _different(where, f"row {question['id']} of {question['job']}: {known}, now {again}")
        return
    asked = [{"input": question["input"], "record": question.get("record", {})} for question, _ in pairs]
    found = [UNREADABLE if answer.withheld else answer.answer for answer in model.answer(asked)]
    wrong = [
        question for (question, row), answer in zip(pairs, found, strict=True) if answer != row["prediction"]
    ]
    if len(wrong) > _DIFFERENT * len(pairs):
        raise _different(where, f"{len(wrong)} of {len(pairs)} rows of {wrong[0]['job']}")


def _different(where: str, what: str) -> BundleError:
    return BundleError(
        f"answers otherwise than is stored: {what}",
        where=where,
        next_step="this file is not the one that was measured; do not trust this bundle",
    )
