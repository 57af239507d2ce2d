"""Evidence arranged for the eye: tables and pictures of the page. Nothing here measures or decides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from tinsmith.base.files import JsonObject
from tinsmith.evidence import format as words
from tinsmith.evidence.family import Family, MetricSpec, Section
from tinsmith.evidence.outcome import Duel, find_duels
from tinsmith.evidence.schema import GGUF_SUBJECTS, MetricName, MetricRow, Record, Role, System
from tinsmith.recipe import OBJECTIVES, loss_unit
from tinsmith.report.curation_view import CurationView
from tinsmith.report.front import pointers
from tinsmith.report.job_schema import JobFiles
from tinsmith.report.job_view import job_views
from tinsmith.report.plots import Mark, bars, curve, intervals, scatter
from tinsmith.report.schema import CurvePoint, Evidence, ExportFile
from tinsmith.report.verdict import HEADLINE

_FORMATS = {subject: format for format, subject in GGUF_SUBJECTS.items()}
_OFF_SCALE = 1.15  # times the worst model, from which on a baseline would squeeze the picture
_ENDS = ("ingested", "kept")  # rows of the funnel that count what there is, not what was dropped
_FIXED_SECTIONS = (
    ("documents", "Documents"),
    ("curation", "Curation"),
    ("training", "Training"),
    ("exports", "Exports"),
    ("footprint", "Footprint"),
    ("provenance", "Licences and versions"),
    ("not-proven", "What was not proven"),
)
_OF_DOCUMENTS = ("documents", "curation", "training", "exports")
_CUTS = {"vocabulary": "Fewer tokens", "layers": "Fewer layers", "mlp": "Narrower MLPs"}


@dataclass(frozen=True)
class MetricGroup:
    """A metric with everything that was measured of it: one column for each of its qualifiers."""

    name: str
    label: str
    columns: tuple[MetricName, ...]


@dataclass(frozen=True)
class TableRow:
    """A row of a table of figures: who was measured, and a cell for each column."""

    subject: str
    name: str
    cells: tuple[MetricRow | None, ...]


@dataclass(frozen=True)
class TaskTable:
    """The figures of a task that was answered in words, the best system first."""

    task: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


class ParityRow(Record):
    """What the parity gate found for one export, and the bounds that it states for it."""

    format: str
    mean_kl: float | None = None
    top1: float | None = None
    positions: int | None = None
    prompts: int | None = None
    bytes: int | None = None
    token_ids_equal: bool | None = None
    stop_equal: bool | None = None
    bound_kl: float | None = None
    bound_top1: float | None = None
    same_label: float | None = None  # of a job that chooses a label
    bound_same_label: float | None = None

    @property
    def holds(self) -> bool:
        """Say whether the export keeps every bound that is stated for it."""
        within = self.mean_kl is None or self.bound_kl is None or self.mean_kl <= self.bound_kl
        agrees = all(
            share is None or bound is None or share >= bound
            for share, bound in ((self.top1, self.bound_top1), (self.same_label, self.bound_same_label))
        )
        return within and agrees and self.token_ids_equal is not False and self.stop_equal is not False


def _parity_rows(parity: JsonObject, sizes: Mapping[str, int], folder: str) -> list[ParityRow]:
    return [
        ParityRow.model_validate({"bytes": sizes.get(f"{folder}/model-{name}.gguf"), **row, "format": name})
        for name, row in parity.get("formats", {}).items()
    ]


class View:
    """Tables and pictures drawn from the evidence of one bundle."""

    def __init__(self, evidence: Evidence, families: Sequence[Family]) -> None:
        self.evidence = evidence
        self.families = families
        self.subjects = {subject.subject: subject for subject in evidence.subjects}
        systems = evidence.generated.systems if evidence.generated else ()
        self.names = {system.subject: system.name for system in systems}
        self.names |= {subject.subject: subject.name for subject in evidence.subjects}
        self.curation = CurationView(evidence.curation)
        self.jobs = job_views(evidence)
        self.pointers = pointers(evidence)

    @property
    def sections(self) -> list[Section]:
        """Return the sections of families that the page shows, in order: those with anything to say.

        Quality on documents is always among them where there are documents, and jobs where there are jobs.
        """
        always = ["quality"] * self.evidence.has_documents + ["jobs"] * bool(self.evidence.job_files)
        shown = {
            family.section
            for family in self.families
            if family.section.name in always
            or family.section.name in self.evidence.findings
            or family.measured(self.evidence)
        }
        return sorted(shown, key=lambda section: (section.order, section.name))

    @property
    def navigation(self) -> list[tuple[str, str]]:
        """Return name and title of each section below the first."""
        jobs = [(f"job-{job.name}", job.title) for job in self.jobs]
        families = [(row.name, row.title) for row in self.sections if row.name != "jobs"]
        fixed = [row for row in _FIXED_SECTIONS if self.evidence.has_documents or row[0] not in _OF_DOCUMENTS]
        return [*jobs, *families, *fixed]

    def name(self, subject: str) -> str:
        """Return a subject's name for people."""
        named = self.names.get(subject, subject)
        match self.role(subject):
            case Role.OURS:
                return "This model"
            case Role.OURS_QUANTISED:
                return f"This model as {_FORMATS.get(subject, named)}"
            case Role.BASE:
                return f"{named}, its base"
        return named

    def kind(self, subject: str) -> str:
        """Return the style class of a subject."""
        return "ours" if self.role(subject).is_ours else "other"

    def role(self, subject: str) -> Role:
        """Return a subject's role; one that only answers in words is a rival."""
        return self.subjects[subject].role if subject in self.subjects else Role.RIVAL

    def figures(self, section: str) -> list[MetricGroup]:
        """Return what was measured by the families of a section, a group for each metric."""
        specs = [
            spec for family in self.families if family.section.name == section for spec in family.metrics
        ]
        groups = (self._group(spec) for spec in specs)
        return [group for group in groups if group.columns]

    def _group(self, spec: MetricSpec) -> MetricGroup:
        columns: dict[str, MetricName] = {}
        for row in self.evidence.metrics:
            if row.name == spec.name:
                columns.setdefault(row.metric, row)
        return MetricGroup(spec.name, spec.label, tuple(columns.values()))

    def rows(self, metric: str) -> list[MetricRow]:
        """Return the figures of one metric, best first."""
        found = [row for row in self.evidence.metrics if row.metric == metric]
        return sorted(found, key=lambda row: row.value, reverse=any(row.higher_is_better for row in found))

    def matrix(self, columns: Iterable[MetricName]) -> list[TableRow]:
        """Return a row for each subject that has any of the metrics, with a cell (or None) for each."""
        cells = {(row.subject, row.metric): row for row in self.evidence.metrics}
        metrics = [column.metric for column in columns]
        order = dict.fromkeys([*(row.subject for row in self.rows(HEADLINE)), *self.subjects])
        table = [
            TableRow(subject, self.name(subject), tuple(cells.get((subject, metric)) for metric in metrics))
            for subject in order
        ]
        return [row for row in table if any(row.cells)]

    def duels(self, section: str) -> list[Duel]:
        """Return the differences between our model and others in the metrics of a section."""
        names = {
            spec.name for family in self.families if family.section.name == section for spec in family.metrics
        }
        return [duel for duel in self.evidence.verdict.duels if duel.name in names]

    @property
    def duels_in_words(self) -> list[Duel]:
        """Return the differences between our model and others in answers in words."""
        rows = self.evidence.generated.comparisons if self.evidence.generated else ()
        return find_duels(rows, self.subjects, self.evidence.confidence)

    @property
    def task_tables(self) -> list[TaskTable]:
        """Return a table for each task that was answered in words."""
        generated = self.evidence.generated
        if not generated:
            return []
        return [
            self._task_table(task, generated.systems, [row for row in generated.metrics if row.task == task])
            for task in dict.fromkeys(row.task or "" for row in generated.metrics)
        ]

    def _task_table(self, task: str, systems: Sequence[System], figures: Sequence[MetricRow]) -> TaskTable:
        cells = {(row.subject, row.name): row for row in figures}
        measured = {row.name for row in figures}
        specs = [spec for family in self.families for spec in family.metrics if spec.name in measured]
        rows = [
            TableRow(
                system.subject, system.name, tuple(cells.get((system.subject, spec.name)) for spec in specs)
            )
            for system in systems
        ]
        rows.sort(key=lambda row: row.cells[0].value if row.cells[0] else -1.0, reverse=True)
        labels = tuple(spec.label for spec in specs)
        return TaskTable(task, labels, tuple(row for row in rows if any(row.cells)))

    @property
    def funnel(self) -> tuple[list[JsonObject], list[str]]:
        """Return the rows of the funnel that dropped anything, and the names of rules that did not."""
        rows = self.evidence.funnel
        busy = [row for row in rows if row["documents"] or row.get("bytes") or row["step"] in _ENDS]
        return busy, [
            words.readable(row.get("reason") or row["step"]).lower() for row in rows if row not in busy
        ]

    @property
    def first_title(self) -> str:
        """Return what the picture of the first screen shows."""
        row = self.rows(self.evidence.first.metric)[0]
        name, comma, of_what = row.label.partition(", ")
        return f"{name} in 100{comma}{of_what}" if row.unit == "share" else f"{row.label}, lower is better"

    def first_picture(self) -> Markup:
        """Draw the picture of the first screen: ours on top, a bar with its interval for each of the others."""
        first = self.evidence.first
        rows = {row.subject: row for row in self.evidence.metrics if row.metric == first.metric}
        shown = [rows[subject] for subject in first.subjects]
        shares = shown[0].unit == "share"
        marks = [self._mark(row) for row in shown]
        if shares:
            marks = [replace(mark, shown=words.number(100 * mark.value, 0)) for mark in marks]
        return bars(marks, self._summary(shown), shares)

    def _summary(self, rows: Sequence[MetricRow]) -> str:
        """Return a picture of figures in words."""
        better = "higher" if rows[0].higher_is_better else "lower"
        named = "; ".join(f"{self.name(row.subject)} {words.figure(row.value, row.unit)}" for row in rows)
        return f"{rows[0].label}, {better} is better: {named}"

    def interval_picture(self, metric: MetricName) -> Markup:
        """Draw a metric with intervals, best on top: shares as bars from zero, others as dots."""
        rows = self.rows(metric.metric)
        hidden = self.off_scale(metric.metric)
        marks = [self._mark(row) for row in rows if row not in hidden]
        share = metric.unit == "share"
        return intervals(
            marks,
            self._summary(rows),
            words.percent if share else lambda value: f"{value:.4g}",
            bars=share,
        )

    def off_scale(self, metric: str) -> list[MetricRow]:
        """Return the baselines so much worse than every model that they would squeeze a picture without a zero."""
        rows = [row for row in self.rows(metric) if row.higher_is_better is False]
        models = [row.value for row in rows if self.role(row.subject) is not Role.BASELINE]
        limit = _OFF_SCALE * max(models, default=math.inf)
        return [row for row in rows if self.role(row.subject) is Role.BASELINE and row.value > limit]

    def points(self, against: str) -> list[tuple[float, MetricRow]]:
        """Return each model's bits per byte behind its size ("bytes") or behind its figure of a metric."""
        across: dict[str, float | None] = {row.subject: row.value for row in self.rows(against)}
        if against == "bytes":
            across = {name: subject.bytes for name, subject in self.subjects.items()}
        headline = [row for row in self.evidence.metrics if row.metric == HEADLINE]
        return [(value, row) for row in headline if (value := across.get(row.subject))]

    def scatter_picture(self, against: str) -> Markup:
        """Draw quality against size or energy, a dot with its interval for each model."""
        write, what = (words.size, "size") if against == "bytes" else (words.significant, "joules an answer")
        marks = [(value, self._mark(row)) for value, row in self.points(against)]
        summary = "; ".join(f"{mark.label} {write(value)}, {mark.shown}" for value, mark in marks)
        return scatter(marks, f"Bits per byte against {what}: {summary}", write)

    def _mark(self, row: MetricRow) -> Mark:
        shown = words.figure(row.value, row.unit)
        return Mark(self.name(row.subject), row.value, row.low, row.high, shown, self.kind(row.subject))

    @property
    def tokenizer(self) -> str:
        """Return where the tokenizer comes from."""
        tokenizer = self.evidence.training.tokenizer
        if tokenizer.kind == "base":
            return f"that of {tokenizer.base}"
        return "byte-level BPE, trained on the training documents"

    def objective(self, name: str) -> str:
        """Return an objective in words."""
        return OBJECTIVES[name].learns

    def cut(self, name: str) -> str:
        """Return in words what pruning cut."""
        return _CUTS[name]

    @property
    def trained(self) -> str:
        """Return which weights were trained."""
        trained = self.evidence.training.trained
        if trained.kind == "all":
            return "all weights"
        where = words.listing(trained.targets or ()) or "every linear layer of the blocks"
        scale = f"rank {trained.rank}, alpha {trained.alpha:g}"
        return f"low-rank adapters (LoRA, {scale}) on {where}, merged into the weights at the end"

    @property
    def schedule(self) -> str:
        """Return the schedule of the learning rate in words."""
        optimizer = self.evidence.training.optimizer
        rise = f"rising over {words.percent(optimizer.warmup)} of the budget"
        if optimizer.schedule == "cosine":
            return f"{rise}, then falling to zero along a cosine"
        return f"{rise}, falling to zero over the last {words.percent(optimizer.decay)}"

    @property
    def loss_unit(self) -> str:
        """Return the unit of the loss."""
        return loss_unit(part.name for part in self.evidence.training.objective)

    def loss_picture(self) -> Markup:
        """Draw the training loss over tokens."""
        points = self.evidence.training.curve
        losses = [point.loss for point in points]
        alt = f"Training loss goes from {losses[0]:.3f} to {losses[-1]:.3f} {self.loss_unit} over the run"
        return self._curve(points, losses, alt)

    def rate_picture(self) -> Markup:
        """Draw the learning rate over tokens."""
        points = self.evidence.training.curve
        rates = [point.learning_rate for point in points]
        return self._curve(points, rates, f"Learning rate: peak {max(rates):.2g}, at the end {rates[-1]:.2g}")

    def _curve(self, points: Sequence[CurvePoint], values: Sequence[float], alt: str) -> Markup:
        label = f"{words.big(self.evidence.training.tokens)} tokens"
        return curve([point.tokens for point in points], values, alt, label)

    def energy_picture(self) -> Markup:
        """Draw this run's energy beside published runs on a logarithmic axis."""
        totals = self.evidence.totals
        shown = words.energy(totals.kwh)
        marks = [Mark("This run, all stages", totals.kwh, totals.kwh_low, totals.kwh_high, shown, "ours")]
        for run in reversed(self.evidence.yardsticks.runs):
            shown = words.energy(run.mwh * 1000) + (" *" if run.derived else "")
            marks.append(Mark(run.run, run.mwh * 1000, None, None, shown))
        summary = "; ".join(f"{mark.label} {mark.shown}" for mark in marks)
        return intervals(marks, f"Energy of training runs, logarithmic: {summary}", words.energy, log=True)

    @property
    def parity_rows(self) -> list[ParityRow]:
        """Return a row for each export with its bounds, size and whether it holds."""
        sizes = {export.file: export.bytes for export in self.evidence.gguf}
        return _parity_rows(self.evidence.parity, sizes, "gguf")

    def exports_of(self, job: JobFiles) -> list[ParityRow]:
        """Return a row for each export of a job."""
        return _parity_rows(job.parity, job.exports, f"jobs/{job.job}/gguf")

    @property
    def smallest(self) -> ExportFile | None:
        """Return the smallest export, of the model of documents or of a job."""
        jobs = [files.exports.items() for files in self.evidence.job_files]
        exports = [ExportFile(file=name, bytes=size) for files in jobs for name, size in files]
        return min([*self.evidence.gguf, *exports], key=lambda export: export.bytes, default=None)

    @property
    def parameters(self) -> int | None:
        """Return the size of our model."""
        ours = self.subjects.get(self.evidence.verdict.subject or "")
        return ours.parameters if ours else None

    def times_this_run(self, mwh: float) -> float | None:
        """Return how many times this run's energy a published run took."""
        kwh = self.evidence.totals.kwh
        return mwh * 1000 / kwh if kwh else None
