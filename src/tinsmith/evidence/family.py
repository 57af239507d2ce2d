"""What a family of measurements is: its metrics, questions, figures, cost, and its place in the report.

`docs/extending.md` adds one step by step. The families are modules of `tinsmith.evaluate.families`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from tinsmith.base.errors import BundleError
from tinsmith.base.files import JsonObject, read_json, read_jsonl
from tinsmith.evidence.bootstrap import Bootstrap, Estimate, Statistic
from tinsmith.evidence.items import Item, read_questions
from tinsmith.evidence.outcome import Duel
from tinsmith.evidence.schema import (
    BASE,
    OURS,
    OURS_4BIT,
    Comparison,
    Finding,
    Formats,
    Gap,
    Generated,
    JobSummary,
    MetricName,
    MetricRow,
    Metrics,
    Role,
    Subject,
    qualifier_words,
    role_of,
)
from tinsmith.recipe import EvaluateConfig, MeterConfig, Recipe

if TYPE_CHECKING:
    from tinsmith.evaluate.probe import Preparation, Probe


@dataclass(frozen=True)
class MetricSpec:
    """What everybody needs to know of a metric: the first part of its name, its unit, its direction, its heading."""

    name: str
    unit: str
    label: str
    higher_is_better: bool | None = None  # None: neither direction is better
    of_pairs: bool = False  # only ever a difference between two models, so that no bound can be set on it


@dataclass(frozen=True)
class Section:
    """A section of the report: `templates/NAME.html`, its entry in the page's navigation, and its place."""

    name: str
    title: str
    order: int


QUALITY = Section("quality", "Quality", 10)
LEAKAGE = Section("leakage", "Leaks", 50)
CONDUCT = Section("conduct", "Bias", 60)


@dataclass(frozen=True)
class FamilyCost:
    """What a family takes: tokens that each model reads, which models, and seconds that depend on none."""

    tokens: float = 0.0
    models: Literal["probed", "all", "local"] = (
        "probed"  # ours and its base; all; one file of ours and GGUF rivals
    )
    seconds: float = 0.0


@dataclass(frozen=True)
class Items:
    """The stored items of a bundle or of a stage: `items/KIND-SUBJECT.jsonl`, read once per kind.

    `gguf` holds the exported files, `parity` the items of the parity gate.
    """

    folder: Path
    gguf: Path
    parity: Path
    subjects: tuple[str, ...]
    _read: dict[Path, list[Any]] = field(default_factory=dict, repr=False)

    @property
    def jobs(self) -> Path:
        """Return the directory of the finished jobs, beside the files of the general model."""
        return self.gguf.parent / "jobs"

    def path(self, kind: str, subject: str, suffix: str = ".jsonl") -> Path:
        """Return where the items of a kind are stored for a subject."""
        return self.folder / f"{kind}-{subject}{suffix}"

    def rows(self, kind: str, subjects: Iterable[str] | None = None) -> dict[str, list[Any]]:
        """Return the rows of each subject that has any, in the order of the subjects."""
        found: dict[str, list[Any]] = {}
        for subject in self.subjects if subjects is None else subjects:
            path = self.path(kind, subject)
            if path not in self._read:
                self._read[path] = list(read_jsonl(path)) if path.is_file() else []
            if rows := self._read[path]:
                found[subject] = rows
        return found

    def values(self, kind: str) -> dict[str, Any]:
        """Return the JSON value of each subject that has one."""
        paths = {subject: self.path(kind, subject, ".json") for subject in self.subjects}
        return {subject: read_json(path) for subject, path in paths.items() if path.is_file()}

    @cached_property
    def questions(self) -> dict[str, Item]:
        """Return the multiple-choice questions by the name of the item."""
        path = self.folder / "questions.jsonl"
        return {item.item: item for item in read_questions(path)} if path.is_file() else {}

    @cached_property
    def texts(self) -> dict[str, str]:
        """Return the scored opening of each held-out document; earlier versions stored none."""
        path = self.folder / "texts.jsonl"
        return {row["doc_id"]: row["text"] for row in read_jsonl(path)} if path.is_file() else {}


@dataclass(frozen=True)
class FigureContext:
    """What figures are computed from: stored items, the subjects by name, and the recipe's settings."""

    items: Items
    subjects: Mapping[str, Subject]
    config: EvaluateConfig
    meter: MeterConfig
    seed: int

    def role(self, subject: str) -> Role:
        """Return the role of a subject; one that only answers in words is a rival."""
        return self.subjects[subject].role if subject in self.subjects else Role.RIVAL

    def bootstrap(self, size: int) -> Bootstrap:
        """Return resamples over `size` documents or items, the same for the same size."""
        config = self.config
        return Bootstrap(size, resamples=config.bootstrap, confidence=config.confidence, seed=self.seed)

    def pairs(self, subjects: Sequence[str]) -> list[tuple[str, str]]:
        """Return who is compared: our model and its 4-bit file with base and rivals, our model with baselines.

        What our other files lose against the original is the business of the family `quantization`.
        """
        return [
            (a, b)
            for a in (OURS, OURS_4BIT)
            for b in subjects
            if a in subjects
            and a != b
            and self.role(b) is not Role.OURS_QUANTISED
            and not (a == OURS_4BIT and self.role(b) is Role.BASELINE)
        ]


@dataclass(frozen=True)
class Figures:
    """What a family computes from stored items; `ladder` and `generated` are tables of their own in metrics.json."""

    metrics: Sequence[MetricRow] = ()
    comparisons: Sequence[Comparison] = ()
    ladder: Formats | None = None
    generated: Generated | None = None
    gaps: Sequence[Gap] = ()
    jobs: Sequence[JobSummary] = ()


@dataclass(frozen=True)
class Results:
    """What findings are written from: all figures, the duels of our model, and the confidence of the intervals."""

    metrics: Metrics
    ours: str | None
    duels: Sequence[Duel]
    confidence: float

    def rows(self, name: str, subject: str | None = "") -> list[MetricRow]:
        """Return the figures of a metric, of our model unless another subject is named."""
        subject = self.ours if subject == "" else subject
        return [row for row in self.metrics.metrics if row.name == name and row.subject == subject]

    def row(self, metric: str, subject: str | None = "") -> MetricRow | None:
        """Return one figure by its whole name, or None where it was not measured."""
        subject = self.ours if subject == "" else subject
        return next(
            (row for row in self.metrics.metrics if row.metric == metric and row.subject == subject), None
        )

    def base_row(self, metric: str) -> MetricRow | None:
        """Return one figure of the base."""
        return self.row(metric, BASE)


@dataclass(frozen=True)
class Family:
    """One family of measurements. Its module in `evaluate/families` must import nothing heavy."""

    kind: str  # names its files: items/KIND-SUBJECT.jsonl
    order: int  # of its figures in metrics.json
    metrics: tuple[MetricSpec, ...]
    figures: Callable[[FigureContext], Figures]
    # A gap where the recipe asks and nothing can be asked, None where the recipe does not ask. Without this
    # function a family is scored in a way of its own.
    prepare: Callable[[Preparation], Probe | Gap | None] | None = None
    check: Callable[[Items], None] = lambda items: (
        None
    )  # raises BundleError where stored items contradict themselves
    cost: Callable[[Recipe, float], FamilyCost] = lambda recipe, bytes_per_token: FamilyCost()
    section: Section = QUALITY
    findings: Callable[[Results], list[Finding]] = lambda results: []
    front: frozenset[str] = frozenset()  # outcomes whose verdict stands at the top of the report
    not_measured: str = ""  # what the report says where nothing of it was measured
    needs: str = ""  # the metric without which it does not count as measured; empty: any of its metrics

    def spec(self, name: str) -> MetricSpec:
        """Return the specification of one of its metrics. Raises KeyError."""
        return {spec.name: spec for spec in self.metrics}[name]

    def row(
        self,
        name: str,
        qualifiers: Iterable[str],
        subject: str,
        estimate: Estimate,
        items: int,
        **more: Any,
    ) -> MetricRow:
        """Return a figure of one of its metrics; the file is that of the subject's items unless it is given."""
        spec = self.spec(name)
        bounds = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        named = _named(spec, qualifiers) | {"file": f"items/{self.kind}-{subject}.jsonl"}
        return MetricRow(**(named | {"subject": subject, "items": items} | bounds | more))

    def compare(
        self,
        name: str,
        qualifiers: Iterable[str],
        statistics: Mapping[str, Statistic],
        pair: tuple[str, str],
        bootstrap: Bootstrap,
        **more: Any,
    ) -> Comparison:
        """Return the difference between two subjects, `pair`, with its interval and p-value."""
        found = bootstrap.difference(*(statistics[subject] for subject in pair))
        named = _named(self.spec(name), qualifiers) | {"a": pair[0], "b": pair[1]}
        bounds = {"difference": found.value, "low": found.low, "high": found.high}
        tested = {"p": found.p_value, "detectable": found.detectable(bootstrap.confidence)}
        return Comparison(**(named | bounds | tested | more))

    def measured(self, metrics: Metrics) -> bool:
        """Say whether it was measured."""
        names = {self.needs} if self.needs else {spec.name for spec in self.metrics}
        generated = metrics.generated.metrics if metrics.generated else ()
        return any(row.name in names for row in (*metrics.metrics, *metrics.comparisons, *generated))


def _named(spec: MetricSpec, qualifiers: Iterable[str]) -> dict[str, Any]:
    qualifiers = [qualifier for qualifier in qualifiers if qualifier]
    label = ", ".join([spec.label, *map(qualifier_words, qualifiers)])
    return {
        "metric": ":".join([spec.name, *qualifiers]),
        "unit": spec.unit,
        "label": label,
        "higher_is_better": spec.higher_is_better,
    }


def read_metrics(path: Path, families: Iterable[Family]) -> Metrics:
    """Read `metrics.json`, also one of an earlier version: missing roles, labels and directions are added.

    Raises BundleError where it does not hold what it should.
    """
    stored = read_json(path)
    specs = {spec.name: spec for family in families for spec in family.metrics}
    try:
        for table in (stored, stored.get("generated") or {}):
            for kind in ("metrics", "comparisons"):
                table[kind] = [_complete(row, specs) for row in table.get(kind, [])]
        stored["bounds"] = [_complete(row, specs) for row in stored.get("bounds", [])]
        stored["subjects"] = [{"role": role_of(row["subject"]), **row} for row in stored.get("subjects", [])]
        notes = stored.get("notes") or []
        stored["notes"] = notes if isinstance(notes, list) else [notes]
        return Metrics.model_validate(stored)
    except KeyError as error:
        raise contradiction(path, f"a row lacks the field {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise contradiction(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def require_subjects(metrics: Metrics, where: Path) -> None:
    """Raise BundleError where a subject that has figures is not among the subjects."""
    known = {subject.subject for subject in metrics.subjects}
    measured = {row.subject for row in metrics.metrics} | {
        side for row in metrics.comparisons for side in (row.a, row.b)
    }
    if unknown := measured - known:
        raise contradiction(where, f"{min(unknown)} has figures and is not among the subjects")


def _complete(row: JsonObject, specs: Mapping[str, MetricSpec]) -> JsonObject:
    """Add unit, label and direction to a stored row that an earlier version wrote without them."""
    metric = MetricName(metric=row["metric"])
    spec = specs.get(metric.name) or MetricSpec(metric.name, "", metric.name.replace("_", " ").capitalize())
    return _named(spec, metric.qualifiers) | row


def contradiction(where: Path, what: str) -> BundleError:
    """Return the error for stored items or figures that contradict each other."""
    return BundleError(
        what,
        where=str(where),
        next_step="do not trust this bundle; build it again from its recipe and documents",
    )
