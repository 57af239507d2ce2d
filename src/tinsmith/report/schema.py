"""What `evidence.json` holds. The page is drawn from it, and nothing is added there."""

from __future__ import annotations

from tinsmith.base.files import JsonObject
from tinsmith.evidence.outcome import Duel
from tinsmith.evidence.schema import Finding, Metrics, Record
from tinsmith.meter.carbon import Yardstick
from tinsmith.report.job_schema import JobFiles

# Of evidence.json: 4 has sentences for the first screen and jobs; 2 decided by the interval alone, and files before it
# have no `format`.
FORMAT = 4


class Cost(Record):
    """Time, energy with its interval, and the carbon and money that this energy is worth."""

    seconds: float
    joules_low: float
    joules: float
    joules_high: float
    kwh_low: float
    kwh: float
    kwh_high: float
    g_co2e_low: float
    g_co2e: float
    g_co2e_high: float
    money_low: float
    money: float
    money_high: float
    currency: str
    peak_rss_bytes: int | None = None


class StageCost(Cost):
    """What one stage took, and how its energy was measured."""

    stage: str
    method: str
    cpu_seconds: float | None = None
    attempts: int | None = None


class TotalCost(Cost):
    """What all stages took together."""

    methods: tuple[str, ...]


class Grid(Record):
    """The electricity that energy was converted with."""

    country: str
    iso3: str
    year: int
    g_co2e_per_kwh: float
    source: str
    pue: float
    price_per_kwh: float
    machine_price_per_hour: float
    currency: str
    embodied: str


class Yardsticks(Record):
    """Published training runs to compare with: ways to count what BLOOM took, and the carbon of one flight's seat."""

    runs: tuple[Yardstick, ...]
    bloom: tuple[JsonObject, ...]
    flight: JsonObject


class ExportFile(Record):
    """A GGUF file of the bundle."""

    file: str
    bytes: int


class Count(Record):
    """How many documents or files have a property."""

    name: str
    count: int


class DroppedFiles(Record):
    """Files, and parts of others (records, members, pages), that ingest dropped for one reason."""

    reason: str
    files: int
    parts: int = 0
    bytes: int
    examples: tuple[str, ...]


class Files(Record):
    """What ingest saw, read and dropped."""

    files: int
    read: int
    dropped: int
    parts: int = 0  # of files, without a document
    bytes: int
    documents: int
    types: tuple[Count, ...]
    reasons: tuple[DroppedFiles, ...]


class DocumentPart(Record):
    """The documents of one side of the split."""

    part: str
    documents: int
    bytes: int


class Documents(Record):
    """The documents that were split, by side, licence and language."""

    parts: tuple[DocumentPart, ...]
    licences: tuple[Count, ...]
    languages: tuple[Count, ...]


class SentTo(Record):
    """What one host received: different documents, requests and their bytes, from these sections of the recipe."""

    host: str
    documents: int
    requests: int
    bytes: int
    sections: tuple[str, ...]


class LeftOut(Record):
    """How many documents a model on another machine did not receive, since their labels may not leave."""

    where: str
    documents: int


class Sent(Record):
    """Requests with text of documents that went to other machines, by host."""

    hosts: tuple[SentTo, ...]
    left_out: tuple[LeftOut, ...]


class OverlapBin(Record):
    """How many held-out documents share between `low` and `high` of their wording with training text."""

    low: float
    high: float
    documents: int


class Overlap(Record):
    """The share of each held-out document's wording that training text holds too."""

    documents: int
    mean: float
    median: float
    highest: float
    bins: tuple[OverlapBin, ...]


class SharedRun(Record):
    """A verbatim run of words in a training and a held-out document."""

    train_doc_id: str
    held_out_doc_id: str
    words: int


class Shared(Record):
    """How many pairs of documents share a long run, and the longest of them."""

    pairs: int
    longest: tuple[SharedRun, ...]
    at_least_words: int
    dropped: bool


class ObjectiveShare(Record):
    """An objective and its share of the training."""

    name: str
    share: float


class Trained(Record):
    """Which weights were trained."""

    kind: str
    parameters: int | None = None
    trainable_parameters: int | None = None
    rank: int | None = None
    alpha: float | None = None
    dropout: float | None = None
    targets: tuple[str, ...] | None = None


class Optimizer(Record):
    """The optimizer and its schedule."""

    name: str
    learning_rate: float
    weight_decay: float
    batch_tokens: int
    schedule: str
    warmup: float
    decay: float


class TokenizerFacts(Record):
    """Where the tokenizer comes from, and how many bytes a token stands for."""

    kind: str
    base: str
    vocabulary: int | None = None
    bytes_per_token: float | None = None
    bytes_per_token_held_out: float | None = None


class Cut(Record):
    """What pruning cut, from how many to how many, and the loss on the sample after it."""

    what: str
    before: int
    after: int
    loss: float | None = None


class Streamline(Record):
    """How a model was pruned before training."""

    parameters_before: int
    parameters_after: int
    sample_tokens: int
    seconds: float
    loss_before: float
    loss_after_surgery: float
    loss_after_training: float | None = None
    cuts: tuple[Cut, ...]
    layers_dropped: tuple[int, ...] | None = None  # counted from 1


class RollbackRow(Record):
    """A return to an earlier state after the training diverged."""

    step: int
    trouble: str
    back_to: int
    seconds: float
    skipped: int


class CurvePoint(Record):
    """Means over one stretch of the log."""

    step: int
    tokens: int
    loss: float
    learning_rate: float


class TrainingFigure(Record):
    """A figure of an objective, averaged over the first and the last steps that have it."""

    name: str
    first: float
    last: float


class Training(Record):
    """Settings, totals, curves and incidents of the training; without a log there are no steps."""

    budget: str
    objective: tuple[ObjectiveShare, ...]
    trained: Trained
    optimizer: Optimizer
    tokenizer: TokenizerFacts
    streamline: Streamline | None = None
    rollbacks: tuple[RollbackRow, ...]
    decisions: int
    schedule: tuple[JsonObject, ...]
    steps: int = 0
    tokens: int | None = None
    seconds: float | None = None
    tokens_per_second: float | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    averaged_steps: int | None = None
    curve: tuple[CurvePoint, ...] = ()
    figures: tuple[TrainingFigure, ...] = ()


class UsedAsset(Record):
    """A model or corpus and the stages that used it."""

    name: str
    kind: str
    sha256: str
    bytes: int
    licence: str | None = None
    source: str
    stages: tuple[str, ...]


class Machine(Record):
    """A machine and the stages that ran on it."""

    cpu: str | None = None
    cores: int | None = None
    virtual: bool | None = None
    flags: tuple[str, ...] | None = None
    memory_bytes: int | None = None
    gpus: tuple[JsonObject, ...] | None = None
    system: str | None = None
    python: str | None = None
    stages: tuple[str, ...] = ()


class Sentence(Record):
    """A sentence of the verdict and its outcome; both empty where nothing was compared."""

    text: str = ""
    outcome: str = ""


class Verdict(Record):
    """What the figures on held-out text say of our model, and all its duels."""

    subject: str | None
    outcome: str
    headline: str
    unlike: Sentence
    quantised: Sentence
    duels: tuple[Duel, ...]


class FirstScreen(Record):
    """What the first screen says: at most three sentences, their outcome, the figures of its picture, ours on top."""

    sentences: tuple[str, ...] = ()
    outcome: str = ""
    metric: str = ""
    subjects: tuple[str, ...] = ()


class Evidence(Metrics):
    """All that the page says: the figures of metrics.json, and what the other files of the bundle give."""

    format: int = FORMAT
    recipe: str
    title: str
    base: str
    fresh: bool
    teacher: str
    tasks: tuple[str, ...]
    rivals: tuple[str, ...]
    confidence: float
    stages: tuple[StageCost, ...]
    totals: TotalCost
    grid: Grid
    yardsticks: Yardsticks
    parity: JsonObject
    gguf: tuple[ExportFile, ...]
    funnel: tuple[JsonObject, ...]
    curation: JsonObject
    files: Files | None
    documents: Documents | None
    sent: Sent | None
    overlap: Overlap | None
    shared: Shared
    training: Training
    assets: tuple[UsedAsset, ...]
    versions: dict[str, str]
    machines: tuple[Machine, ...]
    verdict: Verdict
    findings: dict[str, tuple[Finding, ...]]  # by section
    not_proven: tuple[str, ...] = ()
    has_documents: bool = True
    job_files: tuple[JobFiles, ...] = ()
    first: FirstScreen = FirstScreen()

    def to_json(self) -> JsonObject:
        """Return what evidence.json holds; what is not known is left out."""
        return self.model_dump(mode="json", exclude_none=True)
