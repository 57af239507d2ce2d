"""The typed rows of `metrics.json`: subjects with roles, figures with unit and direction, differences, findings.

A figure is named by colon-separated parts: `extracted:train:repeated` is the metric `extracted` with the qualifiers
`train` and `repeated`. Names are taken apart in this room and nowhere else.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

Precision = Literal["float32", "bfloat16"]


class Record(BaseModel):
    """A stored row: values never change, and fields of later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Role(StrEnum):
    """What a subject is in the comparison."""

    OURS = "ours"
    OURS_QUANTISED = "ours_quantised"
    BASE = "base"
    RIVAL = "rival"
    BASELINE = "control"  # a simple method without a language model

    @property
    def is_ours(self) -> bool:
        """Say whether the subject is the trained model, in any of its files."""
        return self in (Role.OURS, Role.OURS_QUANTISED)


OURS, BASE = "trained", "base"
# By format, the subject that each GGUF of the trained model is.
GGUF_SUBJECTS = {
    "q4_k_m": "trained-4bit",
    "q3_k_m": "trained-q3_k_m",
    "q5_k_m": "trained-q5_k_m",
    "q6_k": "trained-q6_k",
    "q8_0": "trained-q8_0",
    "f16": "trained-f16",
}
LINEAR = ("tfidf", "naive_bayes")  # baselines that are a linear model over words
OURS_4BIT = GGUF_SUBJECTS["q4_k_m"]
_ROLES = {OURS: Role.OURS, BASE: Role.BASE} | dict.fromkeys(GGUF_SUBJECTS.values(), Role.OURS_QUANTISED)
_FEW_SHOT = re.compile(r"-[1-9]\d*-shot$")


def role_of(subject: str) -> Role:
    """Return the role of a model by its name in the comparison; every other name is a rival."""
    return _ROLES.get(_FEW_SHOT.sub("", subject), Role.RIVAL)


def shown_examples(subject: str, shots: int) -> str:
    """Name a model that is asked a job after so many examples: a subject of its own."""
    return f"{subject}-{shots}-shot" if shots else subject


def taught_alike(subject: str) -> str:
    """Name a model that learnt a job from the same examples within the same budget as ours."""
    return f"{subject}-same-examples"


class Subject(Record):
    """Who was measured. `subject` names its files and rows, `name` is for people; a baseline has no weights."""

    subject: str
    name: str
    role: Role
    parameters: int | None = None
    bytes: int | None = None
    bits_per_weight: float | None = None
    quantisation: str | None = None  # types of the stored tensors, by share of weights
    licence: str | None = None
    chat_template: bool | None = None
    # Of recorded answers: when they were given, and who says so.
    date: str | None = None
    source: str | None = None
    # Of a model asked about a job: examples shown before the question, or minutes that it may learn the same examples.
    shots: int | None = None
    minutes: float | None = None


def qualifier_words(qualifier: str) -> str:
    """Write a qualifier for people: '3-shot' is '3 examples'."""
    count, dash, shot = qualifier.partition("-")
    if dash and shot == "shot":
        return {"0": "no examples", "1": "1 example"}.get(count, f"{count} examples")
    return {"overlap_low": "low overlap", "overlap_high": "high overlap"}.get(
        qualifier, qualifier.replace("_", " ")
    )


class MetricName(Record):
    """The name of a figure, and what everybody needs to know to read it."""

    metric: str
    unit: str = ""
    label: str = ""
    higher_is_better: bool | None = None  # None: neither direction is better
    items: int | None = None

    @property
    def name(self) -> str:
        """Return the metric without its qualifiers."""
        return self.metric.split(":")[0]

    @property
    def qualifiers(self) -> tuple[str, ...]:
        """Return what narrows the metric: a task and its examples, a slice, an attack, a kind."""
        return tuple(self.metric.split(":")[1:])

    @property
    def qualifier_label(self) -> str:
        """Return the qualifiers in words, for a column below a heading that names the metric."""
        text = ", ".join(map(qualifier_words, self.qualifiers))
        return text[:1].upper() + text[1:] if text else self.label

    def matches(self, name: str) -> bool:
        """Say whether `name` is the figure's name, or its beginning up to a colon."""
        parts = name.split(":")
        return [self.name, *self.qualifiers][: len(parts)] == parts


class MetricRow(MetricName):
    """A figure of one subject with its interval, the number of items, and the file that they are stored in."""

    subject: str
    value: float
    low: float | None = None
    high: float | None = None
    file: str | None = None
    slice: str | None = None
    task: str | None = None
    shots: int | None = None
    method: str | None = None

    @property
    def hits(self) -> int:
        """Return how many items a share counts."""
        return round(self.value * (self.items or 0))


class Comparison(MetricName):
    """A figure of subject `a` minus that of `b` on the same items, with its paired interval.

    `p` is the two-sided p-value, `p_holm` the same adjusted for the number of comparisons; `detectable` is the
    difference that would be detected four times in five.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float | None = None
    p_holm: float | None = None
    detectable: float | None = None
    slice: str | None = None
    task: str | None = None
    shots: int | None = None


class Finding(Record):
    """What figures say, in a sentence for the person who has to sign, and whether it is a reason to worry.

    `front` says that it stands at the top of the report, where what is not shown stands too.
    """

    verdict: str
    text: str
    outcome: str
    front: bool = False


class Gap(Record):
    """A measurement that the recipe asks for and that could not be made, or not in full, and why."""

    kind: str  # of the family
    what: str
    why: str

    @property
    def text(self) -> str:
        """Return both as one sentence."""
        return f"{self.what}: {self.why}."

    @property
    def reason(self) -> str:
        """Return why, as a sentence of its own."""
        return f"{self.why[:1].upper()}{self.why[1:]}."


class BoundCheck(MetricName):
    """A figure of our model held against a bound of the recipe."""

    side: Literal["at_most", "at_least"]
    bound: float
    kept: bool
    value: float
    low: float | None = None
    high: float | None = None


class FormatRow(Record):
    """One file of our model: its size, and what it loses against the original."""

    format: str
    subject: str
    bytes: int
    bits_per_weight: float
    bits_per_byte: float | None = None
    loss: float
    low: float
    high: float
    exam: float | None = None
    exam_low: float | None = None
    exam_high: float | None = None
    mean_kl: float | None = None
    tokens_per_second: float | None = None
    joules_per_answer: float | None = None


class Formats(Record):
    """The files of our model, the smallest first; the recommended one surely loses at most `max_loss` bits per byte."""

    rows: tuple[FormatRow, ...] = ()
    recommended: str | None = None
    max_loss: float = 0.0


class System(Record):
    """Who answered in words: how many questions it got, was asked and answered, and what that cost."""

    subject: str
    name: str
    kind: str
    questions: int
    asked: int
    answered: int
    partial: bool
    input_tokens: int
    output_tokens: int
    cost: float


class Generated(Record):
    """Figures of answers in words, apart from those of likelihood."""

    systems: tuple[System, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()


class ConfusionCount(Record):
    """How many rows with an answer got a prediction; an unreadable one is empty."""

    answer: str
    prediction: str
    items: int


class ReliabilityBin(Record):
    """Rows of like confidence: their mean confidence, and the share that is right."""

    confidence: float
    right: float
    items: int


class CoveragePoint(Record):
    """The share of rows answered with at least this confidence, and the share right among them."""

    confidence: float
    given: float
    right: float


class Mistake(Record):
    """A wrong answer of ours; the surest come first. The input is cut."""

    id: str
    input: str
    answer: str
    prediction: str
    confidence: float | None = None


class RecordedCount(Record):
    """What became of a recorded system's answers: counts of rows, and of questions without a readable one."""

    subject: str
    rows: int  # in its file
    matched: int  # questions with an answer
    without_answer: int = 0  # rows of the file that cannot be read, or hold no answer
    unmatched_rows: int  # answers to other inputs
    ambiguous: int = 0  # answers that fit several test rows, of which only one can be meant
    unanswered: int  # questions without an answer
    unreadable: int
    repeated: int  # inputs that stand in the file more than once
    contradicting: int  # of these, inputs with different answers


class JobSummary(Record):
    """What our model does at a job, beside its figures: `headline` names the figure that the report begins with.

    `subject` is whose answers are counted: our 4-bit file, or our model where that was not asked. `simpler` names the
    baselines that are at least as good, the best first.
    """

    job: str
    kind: str
    question: str
    headline: str
    subject: str
    items: int
    groups: int
    shared: int  # test rows that also stand in the examples, or whose group does
    labels: tuple[str, ...] = ()
    simpler: tuple[str, ...] = ()
    confusion: tuple[ConfusionCount, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    coverage: tuple[CoveragePoint, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    recorded: tuple[RecordedCount, ...] = ()


class Metrics(Record):
    """All that `metrics.json` holds."""

    precision: Precision = "float32"
    subjects: tuple[Subject, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()
    ladder: Formats = Formats()
    bounds: tuple[BoundCheck, ...] = ()
    generated: Generated | None = None
    gaps: tuple[Gap, ...] | None = None  # an earlier version stored none
    jobs: tuple[JobSummary, ...] | None = None
