"""Statistics of a job's answers by kind, over groups of rows, and what stands beside them: confusion, mistakes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tinsmith.base.files import JsonObject
from tinsmith.evaluate.job_grades import answer_score, field_scores
from tinsmith.evidence.bootstrap import ClassCounts, Statistic, calibration_error, mean_over
from tinsmith.evidence.items import JobAnswer, JobQuestion, JobRow
from tinsmith.evidence.schema import (
    OURS,
    OURS_4BIT,
    ConfusionCount,
    CoveragePoint,
    JobSummary,
    MetricRow,
    Mistake,
    RecordedCount,
    ReliabilityBin,
)
from tinsmith.jobs.answers import UNREADABLE
from tinsmith.jobs.calibration import BINS, reliability, share_curve
from tinsmith.jobs.checks import Checks
from tinsmith.jobs.schema import read_schema
from tinsmith.jobs.scoring import span_f1
from tinsmith.jobs.spec import Job
from tinsmith.jobs.write import agreement

MISTAKES = 20
_INPUT_CHARACTERS = 300  # of a mistake's input, as it is shown
_CURVE_POINTS = 50

Measured = tuple[
    str, Statistic, int
]  # a metric, its statistic over the groups, and how many rows or fields it counts


class JobTable:
    """The answers of all subjects to one job's test rows. Rows of one group are drawn together."""

    def __init__(self, job: Job, questions: Sequence[JobQuestion], rows: Mapping[str, list[JobRow]]) -> None:
        self.job, self.questions, self.rows = job, questions, rows
        self.name = job.config.name
        groups = dict.fromkeys(question["group"] for question in questions)
        self.places = {group: place for place, group in enumerate(groups)}
        self.kind = "several" if job.config.several else job.config.kind
        self.headline, *_ = self.compared = _COMPARED[self.kind]

    def mean(self, rows: Sequence[JobRow], value: Callable[[JobRow], float]) -> Statistic:
        """Return the mean of a value of the rows."""
        return mean_over(self.places, [row["group"] for row in rows], [value(row) for row in rows])

    def counts(self, rows: Sequence[JobRow]) -> ClassCounts:
        """Return counts of each label by group."""
        return ClassCounts(
            [self.places[row["group"]] for row in rows],
            [labels_of(row["answer"]) for row in rows],
            [labels_of(row["prediction"]) for row in rows],
            self.job.labels,
            len(self.places),
        )

    def summary(
        self, metrics: Sequence[MetricRow], baselines: Sequence[str], recorded: Mapping[str, JsonObject]
    ) -> JobSummary | None:
        """Return what stands beside the figures of our answers; None without any."""
        ours = next((subject for subject in (OURS_4BIT, OURS) if subject in self.rows), None)
        if ours is None:
            return None
        rows, headline = self.rows[ours], f"{self.headline}:{self.name}"
        values = {row.subject: row.value for row in metrics if row.metric == headline}
        simpler = [name for name in baselines if values.get(name, -1.0) >= values[ours]]
        return JobSummary(
            job=self.name,
            kind=self.job.config.kind,
            question=self.job.config.asked,
            headline=headline,
            subject=ours,
            items=len(self.questions),
            groups=len(self.places),
            shared=sum(question["shared"] for question in self.questions),
            labels=self.job.labels,
            simpler=tuple(sorted(simpler, key=lambda name: -values[name])),
            confusion=_confusion(rows) if self.kind == "classify" else (),
            reliability=_reliability(rows),
            coverage=_coverage(rows),
            mistakes=tuple(_mistakes(rows, self.questions)),
            recorded=tuple(RecordedCount(subject=name, **counts) for name, counts in recorded.items()),
        )


def labels_of(answer: JobAnswer) -> list[str]:
    """Return the labels of an answer: of one label a list of it, of an unreadable answer none."""
    return [answer] * bool(answer) if isinstance(answer, str) else answer if isinstance(answer, list) else []


def metrics_of(table: JobTable, rows: Sequence[JobRow]) -> Iterator[Measured]:
    """Yield each metric of the job's kind over some rows of one subject."""
    yield from _BY_KIND[table.kind](table, rows)
    sure = [row["confidence"] for row in rows]
    if sure and None not in sure:
        yield "job_calibration_error", _calibration_error(table, rows), len(rows)
    given = [row for row in rows if row["given"]]
    if 0 < len(given) < len(rows):
        yield "job_right_given", table.mean(given, lambda row: float(row["correct"])), len(given)
    if len(given) < len(rows):
        yield "job_given", table.mean(rows, lambda row: float(row["given"])), len(rows)
    if any(row["raw"] is not None for row in rows):
        unreadable = table.mean(rows, lambda row: float(row["prediction"] == UNREADABLE))
        yield "job_unreadable", unreadable, len(rows)


def _classify(table: JobTable, rows: Sequence[JobRow]) -> Iterator[Measured]:
    counts = table.counts(rows)
    yield "job_accuracy", table.mean(rows, lambda row: float(row["correct"])), len(rows)
    yield "job_weighted_f1", counts.f1("weighted"), len(rows)
    yield "job_macro_f1", counts.f1("macro"), len(rows)
    yield "job_balanced_accuracy", counts.balanced_accuracy(), len(rows)


def _several(table: JobTable, rows: Sequence[JobRow]) -> Iterator[Measured]:
    counts = table.counts(rows)
    if any(row["answer"] or row["prediction"] for row in rows):
        yield "job_micro_f1", counts.f1("micro"), len(rows)
        yield "job_macro_f1", counts.f1("macro"), len(rows)
    yield "job_exact_sets", table.mean(rows, lambda row: float(row["correct"])), len(rows)


def _extract(table: JobTable, rows: Sequence[JobRow]) -> Iterator[Measured]:
    """Of fields that the text holds, the F1 of what was found; of the others, how often "none" was said."""
    fields = [
        (row["group"], *scored)
        for row in rows
        for scored in field_scores(table.job, row["answer"], row["prediction"])
    ]
    for metric, present in (("job_span_f1", True), ("job_none_said", False)):
        own = [(group, f1) for group, there, f1 in fields if there is present]
        if len({group for group, _ in own}) > 1:
            yield metric, mean_over(table.places, *zip(*own, strict=True)), len(own)


def _answer(table: JobTable, rows: Sequence[JobRow]) -> Iterator[Measured]:
    yield "job_exact_match", table.mean(rows, lambda row: float(row["correct"])), len(rows)
    yield (
        "job_answer_f1",
        table.mean(rows, lambda row: answer_score(row["answer"], row["prediction"], span_f1)),
        len(rows),
    )


def _write(table: JobTable, rows: Sequence[JobRow]) -> Iterator[Measured]:
    schema = read_schema(table.job.config) if table.job.config.json_schema else None
    yield (
        "job_agreement",
        table.mean(rows, lambda row: agreement(schema, str(row["prediction"]), str(row["answer"]))),
        len(rows),
    )
    if not table.job.config.checks:
        return
    yield "job_checks_kept", table.mean(rows, lambda row: float(row["correct"])), len(rows)
    if all("tries" in row for row in rows):
        at_once = table.mean(rows, lambda row: float(row["correct"] and row["tries"] == 1))
        yield "job_checks_kept_at_once", at_once, len(rows)
    checks, asked = Checks(table.job.config), {question["id"]: question for question in table.questions}
    given = [row for row in rows if row["given"]]
    invented = [checks.invented(dict(asked[row["id"]]), str(row["prediction"])) for row in given]
    if given and None not in invented:
        groups, shares = [row["group"] for row in given], [float(bool(numbers)) for numbers in invented]
        yield "job_invented_numbers", mean_over(table.places, groups, shares), len(given)


_BY_KIND: dict[str, Callable[[JobTable, Sequence[JobRow]], Iterator[Measured]]] = {
    "classify": _classify,
    "several": _several,
    "extract": _extract,
    "answer": _answer,
    "write": _write,
}
# The metrics in which subjects are compared; the first is the one that the report begins with.
_COMPARED = {
    "classify": ("job_accuracy", "job_weighted_f1"),
    "several": ("job_micro_f1", "job_exact_sets"),
    "extract": ("job_span_f1", "job_none_said"),
    "answer": ("job_exact_match", "job_answer_f1"),
    "write": ("job_agreement", "job_checks_kept"),
}


def _calibration_error(table: JobTable, rows: Sequence[JobRow]) -> Statistic:
    """Return the calibration error over bins of equally many rows, which stay as they are in all resamples."""
    sure = np.asarray([row["confidence"] for row in rows])
    bins = np.array_split(np.argsort(sure, kind="stable"), min(BINS, len(rows)))
    gaps = sure - np.asarray([float(row["correct"]) for row in rows])
    return calibration_error(
        table.places, [row["group"] for row in rows], gaps.tolist(), [each.tolist() for each in bins]
    )


def _confusion(rows: Sequence[JobRow]) -> tuple[ConfusionCount, ...]:
    counts = Counter((str(row["answer"]), str(row["prediction"])) for row in rows)
    return tuple(
        ConfusionCount(answer=answer, prediction=prediction, items=items)
        for (answer, prediction), items in sorted(counts.items())
    )


def _sure(rows: Sequence[JobRow]) -> tuple[list[float], list[float]]:
    """Return confidence and correctness of the rows; nothing unless all have a confidence."""
    sure = [row["confidence"] for row in rows if row["confidence"] is not None]
    return (sure, [float(row["correct"]) for row in rows]) if len(sure) == len(rows) else ([], [])


def _reliability(rows: Sequence[JobRow]) -> tuple[ReliabilityBin, ...]:
    sure, right = _sure(rows)
    bins = reliability(sure, right) if sure else []
    return tuple(ReliabilityBin(confidence=b.confidence, right=b.right, items=b.answers) for b in bins)


def _coverage(rows: Sequence[JobRow]) -> tuple[CoveragePoint, ...]:
    """Return the curve of share answered against share right, thinned out for the page."""
    sure, right = _sure(rows)
    points = share_curve(sure, right) if sure else []
    step = max(1, len(points) // _CURVE_POINTS)
    kept = [*points[:-1:step], *points[-1:]]
    return tuple(CoveragePoint(confidence=p.least, given=p.answered, right=p.right) for p in kept)


def _mistakes(rows: Sequence[JobRow], questions: Sequence[JobQuestion]) -> Iterator[Mistake]:
    """Yield the surest wrong answers."""
    inputs = {question["id"]: question["input"] for question in questions}
    wrong = [row for row in rows if row["correct"] < 1]
    for row in sorted(wrong, key=lambda row: (-(row["confidence"] or 0.0), row["id"]))[:MISTAKES]:
        yield Mistake(
            id=row["id"],
            input=inputs[row["id"]][:_INPUT_CHARACTERS],
            answer=in_words(row["answer"]),
            prediction=in_words(row["prediction"]),
            confidence=row["confidence"],
        )


def in_words(answer: JobAnswer) -> str:
    """Write an answer of any kind as one line."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
