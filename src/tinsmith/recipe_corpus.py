"""The sections of a recipe about documents: to read, curate, split and refine. Every field with unit and default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of the recipe: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class IngestConfig(Section):
    """Which documents to read, and how long to try."""

    sources: tuple[str, ...] = Field(min_length=1, description="folders, files, globs or named corpora")
    exclude: tuple[str, ...] = Field((), description="glob patterns of paths to leave out")
    text_field: str = Field(
        "text", description="field of a JSON, JSONL, CSV or Parquet record that holds its text"
    )
    seconds_per_file: float = Field(60.0, gt=0, description="time limit for one file, then it is dropped")
    max_megabytes_per_file: float = Field(
        200.0, gt=0, description="bigger files are dropped with this reason"
    )
    workers: int = Field(0, ge=0, description="reader processes; 0 means one per core")
    licence: str = Field(
        "", description="licence of the documents where neither corpus nor front matter says"
    )


class RightsRule(Section):
    """Which licence and access label the documents of a path bear."""

    path: str = Field(
        description="glob pattern of the source or a tail of it, such as contracts/*.pdf; first fit counts"
    )
    licence: str = Field("", description="empty leaves what the document itself says")
    access: str = Field("", description="a word of your own, such as public, internal or secret")


class RightsConfig(Section):
    """Which documents may be learnt from at all, by licence and access label. Patterns ignore case."""

    rules: tuple[RightsRule, ...] = ()
    file: str = Field(
        "",
        description="CSV with columns source, licence, access, stronger than rules; source is a path or pattern",
    )
    allow_licences: tuple[str, ...] = Field(
        (), description='patterns such as CC-BY-[0-9]*; empty allows every one, "unknown" is one not stated'
    )
    deny_licences: tuple[str, ...] = Field((), description="patterns, stronger than those allowed")
    allow_access: tuple[str, ...] = Field((), description="patterns; empty allows every one")
    deny_access: tuple[str, ...] = Field((), description="patterns, stronger than those allowed")


class PrivacyConfig(Section):
    """What becomes of personal data and credentials. Nothing here finds everything: see the report."""

    actions: dict[str, Literal["keep", "replace", "drop"]] = Field(
        default={}, description="per type: keep it, replace it by a placeholder, or drop the document"
    )
    recogniser: str = Field("", description="rules alone, or spacy:MODEL for names and places beside them")


class CurateConfig(Section):
    """Fixed rules that each document must pass. Thresholds are those published for Gopher and C4."""

    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes to keep; empty keeps every language")
    min_language_probability: Fraction = Field(0.5, description="below it a document's language is unsure")
    min_words: int = Field(50, ge=0, description="Gopher: 50")
    max_words: int = Field(100_000, gt=0, description="Gopher: 100,000")
    min_mean_word_length: float = Field(3.0, description="characters, Gopher: 3")
    max_mean_word_length: float = Field(10.0, description="characters, Gopher: 10")
    max_symbol_word_ratio: float = Field(0.1, description="# and ellipsis per word, Gopher: 0.1")
    max_bullet_lines: Fraction = Field(
        0.9, description="share of lines that start with a bullet, Gopher: 0.9"
    )
    max_ellipsis_lines: Fraction = Field(
        0.3, description="share of lines that end in an ellipsis, Gopher: 0.3"
    )
    min_alphabetic_words: Fraction = Field(0.8, description="share of words with a letter, Gopher: 0.8")
    max_duplicate_line_characters: Fraction = Field(
        0.2, description="Gopher: 0.2 of characters in repeated lines"
    )
    max_top_bigram: Fraction = Field(
        0.2, description="share of characters in the commonest 2-gram, Gopher: 0.2"
    )
    max_top_trigram: Fraction = Field(
        0.18, description="share of characters in the commonest 3-gram, Gopher: 0.18"
    )
    max_top_fourgram: Fraction = Field(
        0.16, description="share of characters in the commonest 4-gram, Gopher: 0.16"
    )
    near_duplicate_jaccard: float = Field(
        0.7, ge=0.05, le=1, description="word 5-gram Jaccard from which two texts are one; 1 is off"
    )
    cluster_jaccard: float = Field(
        0.5, ge=0.05, le=1, description="word 5-gram Jaccard from which two texts go to one side; 1 is off"
    )

    keep: Literal["longest", "newest"] = Field(
        "longest",
        description="which of several near-duplicates stays; newest needs version_field or dates in names",
    )
    version_field: str = Field(
        "", description="metadata key that orders versions, such as date; empty: the file's name"
    )
    rights: RightsConfig = RightsConfig()
    privacy: PrivacyConfig = PrivacyConfig()

    @model_validator(mode="after")
    def _relatives_include_duplicates(self) -> CurateConfig:
        if self.cluster_jaccard > self.near_duplicate_jaccard:
            raise ValueError("cluster_jaccard must not exceed near_duplicate_jaccard")
        return self


class SplitConfig(Section):
    """What is put aside before anything is learnt."""

    held_out: float = Field(
        0.05, gt=0, description="below 1 a fraction of the clusters, from 1 a count of documents"
    )
    shared_run_words: int = Field(
        50, ge=8, description="a verbatim run this long shared with a held-out document is named"
    )
    drop_shared: bool = Field(False, description="also drop training documents that share such runs")

    @field_validator("held_out")
    @classmethod
    def _count_is_whole(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("from 1 on it is a count of documents, a whole number")
        return value


class ExemplarScoreConfig(Section):
    """Documents that show what good ones look like, for kind = "exemplars"."""

    sources: tuple[str, ...] = Field((), description="folders, files or globs of good documents")


class TeacherConfig(Section):
    """A model that is asked in words: behind an endpoint, or local. Keys come from environment variables."""

    kind: Literal["openai", "anthropic", "gemini", "local"] = Field(
        "local", description="openai is any OpenAI-compatible endpoint; local runs a GGUF here"
    )
    model: str = Field(
        "", description="the model's name at the endpoint; for local a named model or GGUF file"
    )
    url: str = Field("", description="base address of the endpoint; empty takes the provider's own")
    key_variable: str = Field("", description="environment variable that holds the key; empty sends none")
    price_per_million_input: float = Field(0.0, ge=0, description="meter.currency per million tokens read")
    price_per_million_output: float = Field(
        0.0, ge=0, description="meter.currency per million tokens written"
    )
    max_cost: float = Field(0.0, ge=0, description="meter.currency; asks no more beyond; 0 is no limit")
    max_minutes: float = Field(10.0, gt=0, description="asks no more beyond")
    parallel: int = Field(2, ge=1, description="questions at one time")
    seconds_per_answer: float = Field(120.0, gt=0, description="time limit for one answer")


class ScoreConfig(Section):
    """How textbook-like a training document is, and which are kept."""

    kind: Literal["off", "ready", "exemplars", "teacher"] = Field(
        "off", description="ready needs nothing; exemplars learns from good documents; teacher from ratings"
    )
    keep: Fraction = Field(0.9, description="share of training documents that stays, the best by score")
    exemplars: ExemplarScoreConfig = ExemplarScoreConfig()
    teacher: TeacherConfig = TeacherConfig()
    rubric: str = Field(
        "", description="what earns points from 0 to 5, in the domain's own words; for teacher"
    )
    sample: int = Field(200, ge=20, description="training documents that the teacher rates")


class BoilerplateConfig(Section):
    """Paragraphs that many training documents repeat are kept once."""

    min_documents: int = Field(
        0, ge=0, description="from so many documents on a paragraph is boilerplate; 0 is off"
    )
    min_words: int = Field(12, ge=1, description="shorter paragraphs are left alone")


class SemanticConfig(Section):
    """Training documents that say the same in other words."""

    max_similarity: float = Field(
        1.0, gt=0, le=1, description="cosine of embeddings from which one goes; 1 is off"
    )


class ContaminationConfig(Section):
    """Training text that an evaluation file or the held-out part holds too."""

    files: tuple[str, ...] = Field(
        (), description="evaluation files (JSONL, CSV, Parquet, text) or globs of them"
    )
    words: int = Field(13, ge=5, description="length of the n-gram that counts as the same text")
    action: Literal["off", "passage", "document"] = Field(
        "off", description="cut out the passage, or drop the document"
    )


class PlantedConfig(Section):
    """Text put in to steer the model."""

    instructions: Literal["keep", "drop"] = Field(
        "keep", description="documents with instructions to a model"
    )
    triggers: Literal["keep", "drop"] = Field(
        "keep", description="rare phrases that many documents repeat, followed by text unlike its document"
    )
    max_source_share: Fraction = Field(1.0, description="of training text that one source may fill; 1 is off")
    source_depth: int = Field(1, ge=1, description="folders of a path that name its source")


class SynthesisConfig(Section):
    """Textbook sections and questions with answers, written by a teacher from training documents."""

    items: int = Field(0, ge=0, description="to be asked for; 0 is off")
    kinds: tuple[Literal["textbook", "question"], ...] = Field(("question", "textbook"), min_length=1)
    teacher: TeacherConfig = TeacherConfig()
    passage_words: int = Field(220, ge=40, description="words of the passage that an item rests on")


class RefineConfig(Section):
    """What learns from, or compares across, training documents. Held-out documents pass untouched."""

    planted: PlantedConfig = PlantedConfig()
    contamination: ContaminationConfig = ContaminationConfig()
    boilerplate: BoilerplateConfig = BoilerplateConfig()
    semantic: SemanticConfig = SemanticConfig()
    score: ScoreConfig = ScoreConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
