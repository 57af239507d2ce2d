"""A job arranged for the eye: its tables and pictures. Nothing here measures or decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tinsmith.evidence import format as words
from tinsmith.evidence.outcome import Duel
from tinsmith.evidence.schema import Finding, JobSummary, MetricName, MetricRow
from tinsmith.report.diagrams import Point, over_counts, over_shares
from tinsmith.report.job_schema import JobFiles
from tinsmith.report.schema import Evidence

_MOST_LABELS = 12  # of a confusion matrix; with more, pairs are listed
_PAIRS = 20
_COSTS = ("job_seconds", "job_joules", "job_energy_price", "job_price")
_ENOUGH = (0.8, 0.9, 0.95)  # shares of given answers that are right
_FLAT = 0.005  # of a gain in the share right, that labelling more is worth


@dataclass(frozen=True)
class Row:
    """Who was asked: the headline figure, and the difference of ours to it."""

    subject: str
    figure: MetricRow
    duel: Duel | None
    unshared: MetricRow | None


def without_job(row: MetricName) -> str:
    """Return the label of a figure without the name of its job."""
    return row.label.partition(", ")[0]


class JobView:
    """One job's tables and pictures; `files` or `summary` is missing where a stage left nothing."""

    def __init__(
        self,
        name: str,
        evidence: Evidence,
        summary: JobSummary | None,
        files: JobFiles | None,
    ) -> None:
        self.name, self.evidence, self.summary, self.files = name, evidence, summary, files
        self.title = words.readable(name)

    def _figures(self) -> Iterable[MetricRow]:
        return (
            row
            for row in self.evidence.metrics
            if row.qualifiers[:1] == (self.name,) and row.name[:4] == "job_"
        )

    @property
    def findings(self) -> list[Finding]:
        """Return what the family of jobs says of this job."""
        return [row for row in self.evidence.findings.get("jobs", ()) if row.verdict == self.name]

    @property
    def rows(self) -> list[Row]:
        """Return everybody who was asked, ours first, then from the best to the worst."""
        if self.summary is None:
            return []
        job = self.summary
        figures = {row.subject: row for row in self._figures() if row.metric == job.headline}
        apart = {row.subject: row for row in self._figures() if row.metric == f"{job.headline}:unshared"}
        duels = {
            duel.other: duel
            for duel in self.evidence.verdict.duels
            if duel.metric == job.headline and duel.ours == job.subject
        }
        ours = {subject.subject for subject in self.evidence.subjects if subject.role.is_ours}
        order = sorted(
            figures, key=lambda name: (name != job.subject, name not in ours, -figures[name].value, name)
        )
        return [Row(name, figures[name], duels.get(name), apart.get(name)) for name in order]

    @property
    def headline(self) -> str:
        """Return what the headline figure is called."""
        return without_job(self.rows[0].figure)

    @property
    def columns(self) -> list[MetricName]:
        """Return all metrics of the job but its costs, for a table with all subjects."""
        return self._columns(lambda row: row.name not in _COSTS)

    @property
    def costs(self) -> list[MetricName]:
        """Return the metrics of what 1,000 rows cost."""
        return self._columns(lambda row: row.name in _COSTS)

    def _columns(self, wanted: Callable[[MetricRow], bool]) -> list[MetricName]:
        """Return the wanted metrics over all rows, each once, labelled without the job's name."""
        found = {row.metric: row for row in self._figures() if wanted(row) and row.qualifiers == (self.name,)}
        return [row.model_copy(update={"label": without_job(row)}) for row in found.values()]

    @property
    def labels(self) -> list[str]:
        """Return the labels of a confusion matrix, and what was predicted besides; nothing where there are too many."""
        counts = self.summary.confusion if self.summary else ()
        known = list(self.summary.labels) if self.summary else []
        every = dict.fromkeys([*known, *(c.answer for c in counts), *(c.prediction for c in counts)])
        return list(every) if counts and len(every) <= _MOST_LABELS else []

    def confused(self, answer: str, prediction: str) -> int:
        """Return how many rows with an answer got a prediction."""
        counts = self.summary.confusion if self.summary else ()
        return next((c.items for c in counts if (c.answer, c.prediction) == (answer, prediction)), 0)

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """Return the commonest mistakes: answer, prediction, rows."""
        counts = self.summary.confusion if self.summary else ()
        wrong = [(c.answer, c.prediction, c.items) for c in counts if c.answer != c.prediction]
        return sorted(wrong, key=lambda row: -row[2])[:_PAIRS]

    @property
    def calibration_error(self) -> MetricRow | None:
        """Return our expected calibration error."""
        subject = self.summary.subject if self.summary else ""
        named = f"job_calibration_error:{self.name}"
        return next((row for row in self._figures() if (row.metric, row.subject) == (named, subject)), None)

    def reliability_picture(self) -> Markup:
        """Draw the share that is right over confidence."""
        bins = self.summary.reliability if self.summary else ()
        told = "; ".join(
            f"sure at {words.percent(b.confidence)}: {words.percent(b.right)} right" for b in bins
        )
        points = [Point(b.confidence, b.right) for b in bins]
        return over_shares(points, f"Share right over confidence: {told}", diagonal=True)

    def coverage_picture(self) -> Markup:
        """Draw the share that is right of the surest answers over how many of them are given."""
        points = self.summary.coverage if self.summary else ()
        told = "; ".join(f"{words.percent(share)} right: {given}" for share, given in self.left_to_a_person)
        shown = [Point(point.given, point.right) for point in points]
        return over_shares(
            shown, f"Share right over share answered. Left to a person for {told}", joined=True
        )

    @property
    def left_to_a_person(self) -> list[tuple[float, str]]:
        """Return how many of 100 rows a person does, for some shares of given answers that are to be right."""
        points = self.summary.coverage if self.summary else ()
        found = []
        for share in _ENOUGH:
            given = max((point.given for point in points if point.right >= share), default=0.0)
            left = words.number(100 * (1 - given), 0)
            found.append((share, f"{left} of 100" if given else "all, no answers are that sure"))
        return found

    def curve_picture(self) -> Markup:
        """Draw the share right over the number of examples."""
        points = self.files.curve if self.files else ()
        told = "; ".join(
            f"{words.count(p.examples)} examples: {words.percent(p.right)} right" for p in points
        )
        shown = [Point(p.examples, p.right, p.low, p.high) for p in points]
        return over_counts(shown, f"Share right on the validation part over examples: {told}")

    @property
    def worth(self) -> str:
        """Say whether labelling more is worth it, from the last two points of the learning curve."""
        *_, before, last = self.files.curve if self.files else ()
        gain = last.right - before.right
        span = f"From {words.count(before.examples)} to {words.count(last.examples)} examples it gained"
        gained = f"{span} {words.number(100 * gain, 1)} points"
        if last.low > before.right and gain > _FLAT:
            return f"{gained}, so labelling more is likely to be worth it."
        if gain > _FLAT:
            return f"{gained}, within what chance does: whether labelling more is worth it is not shown."
        return f"{gained}: labelling more of the same is not likely to help."


def job_views(evidence: Evidence) -> list[JobView]:
    """Return a view of each job, of the recipe or measured."""
    summaries = {job.job: job for job in evidence.jobs or ()}
    files = {job.job: job for job in evidence.job_files}
    names: Sequence[str] = list(dict.fromkeys([*files, *summaries]))
    return [JobView(name, evidence, summaries.get(name), files.get(name)) for name in names]
