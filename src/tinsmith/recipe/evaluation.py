"""The recipe sections about exports, measurements and the report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from tinsmith.recipe.corpus import PRIVACY_DEFAULTS
from tinsmith.recipe.objectives import token_sets
from tinsmith.recipe.section import FOR_DOCUMENTS, LLMConfig, ReadWhen, Section

GgufFormat = Literal["f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"]


_FOR_FORMATS = ReadWhen(
    lambda recipe, package, name: name in ("saved", *package.formats),
    "put that format into package.formats",
    by_key=True,
)
_FOR_TASKS = ReadWhen(lambda recipe, evaluate: bool(recipe.tasks), "write a task")
_FOR_JOBS = ReadWhen(lambda recipe, evaluate: bool(recipe.jobs), "write a job")
_FOR_TASKS_OR_JOBS = ReadWhen(
    lambda recipe, evaluate: bool(recipe.tasks or recipe.jobs), "write a task or a job"
)
_FOR_QUESTIONS = ReadWhen(
    lambda recipe, evaluate: bool(recipe.tasks or evaluate.built_items or evaluate.questions),
    "write a task, or set evaluate.built_items or evaluate.questions",
)
_FOR_QUESTIONS_OR_JOBS = ReadWhen(
    lambda recipe, evaluate: bool(recipe.jobs or recipe.tasks or evaluate.built_items or evaluate.questions),
    "write a job or a task, or set evaluate.built_items or evaluate.questions",
)
_FOR_REPLACED = ReadWhen(
    lambda recipe, evaluate: "replace" in (PRIVACY_DEFAULTS | recipe.curate.privacy.actions).values(),
    "let curate.privacy.actions replace something",
)
_FOR_FILES = ReadWhen(
    lambda recipe, evaluate: (
        evaluate.all_formats or (evaluate.quantised and "q4_k_m" in recipe.package.formats)
    ),
    "set evaluate.all_formats, or let evaluate.quantised and package.formats include the 4-bit file",
)
_FOR_LEARNT = ReadWhen(
    lambda recipe, evaluate: "" in token_sets(recipe.train.shares), "put next_token into train.objective"
)


class PackageConfig(Section):
    """Which files are exported, and how close they must be to the trained model."""

    formats: tuple[GgufFormat, ...] = Field(
        ("f16", "q8_0", "q4_k_m"),
        min_length=1,
        description="GGUF types: f16, q8_0, q6_k, q5_k_m, q4_k_m, q3_k_m",
    )
    precision: Literal["float32", "float16", "bfloat16"] = Field("float16", description="of the safetensors")
    parity_prompts: int = Field(200, ge=1, description="prompts for the check against a server")
    parity_positions: int = Field(2000, ge=1, description="token positions compared per export")
    # Set once from measured models with a margin: the table in docs/evidence.md, section "Parity".
    max_kl: Annotated[dict[str, float], _FOR_FORMATS] = Field(
        default={
            "saved": 0.005,
            "f16": 0.005,
            "q8_0": 0.04,
            "q6_k": 0.08,
            "q5_k_m": 0.3,
            "q4_k_m": 0.25,
            "q3_k_m": 0.8,
        },
        description="largest mean KL divergence in nats per format; formats not named keep the default",
    )
    min_top1: Annotated[dict[str, float], _FOR_FORMATS] = Field(
        default={
            "saved": 0.95,
            "f16": 0.95,
            "q8_0": 0.9,
            "q6_k": 0.85,
            "q5_k_m": 0.65,
            "q4_k_m": 0.7,
            "q3_k_m": 0.5,
        },
        description="least top-1 agreement per format; formats not named keep the default",
    )

    @field_validator("max_kl", "min_top1", mode="before")
    @classmethod
    def _keep_other_bounds(cls, given: Any, info: ValidationInfo) -> Any:
        defaults = cls.model_fields[str(info.field_name)].default
        if not isinstance(given, dict):
            return given
        if unknown := given.keys() - defaults.keys():
            raise ValueError(f"unknown format {', '.join(sorted(unknown))}; use one of {', '.join(defaults)}")
        return {**defaults, **given}


class EndpointConfig(LLMConfig):
    """A system behind an API that answers the same questions in free text, with its key in an environment variable."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="its name in the report and in file names"
    )
    kind: Literal["openai", "anthropic", "gemini"] = Field(
        "openai", description="openai is any OpenAI-compatible endpoint"
    )
    model: str = Field(min_length=1, description="the model's name at the endpoint")
    max_tokens: int = Field(
        64,
        ge=1,
        description="limit of an answer; reasoning models need a few thousand; a job's answer gets what it needs",
    )


class BoundsConfig(Section):
    """Bounds on figures of the finished model, by metric or its part before a colon."""

    at_most: dict[str, float] = Field(
        {}, description='such as {"extracted:train" = 0.05, membership_found = 0.1}'
    )
    at_least: dict[str, float] = Field({}, description='such as {"accuracy:next_passage" = 0.5}')
    action: Annotated[
        Literal["fail", "report"],
        ReadWhen(lambda recipe, bounds: bool(bounds.at_most or bounds.at_least), "set a bound in {here}"),
    ] = Field("fail", description="fail stops the build once everything is measured")


class GeneralConfig(Section):
    """A test of general ability from your own files, run by lm-eval before and after training."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Literal["arc", "openbookqa", "boolq", "mmlu", "blimp", "legalbench"] = Field(
        description="the benchmark whose fields the rows have and whose prompt is used"
    )
    path: str = Field(
        description="a .jsonl, .json, .csv, .tsv or .parquet file, or a directory of them; nothing is downloaded"
    )
    limit: int = Field(200, ge=2, description="most rows, drawn with the recipe's seed")


class RecordedConfig(Section):
    """What another system answered to the same inputs, recorded in a file: it needs neither a key nor a network."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="its name in the report and in file names"
    )
    file: str = Field(
        description="CSV, JSON Lines or Parquet with `answer` and either `id` or the fields of the job's input"
    )
    job: str = Field("", description="the job that was asked; empty where the recipe has one")
    date: str = Field("", description="when it answered, as the report shows it")
    source: str = Field("", description="who recorded the answers, as the report shows it")
    price_per_1000: float = Field(
        0.0, ge=0, description="meter.currency for 1,000 answers, as its source says; 0 is unknown"
    )


class EvaluateConfig(Section):
    """What is measured on held-out documents, and which models are compared."""

    rivals: tuple[str, ...] = Field(
        (), description="models to compare with: known names, directories, GGUF files or Hugging Face ids"
    )
    quantised: Annotated[
        bool, ReadWhen(lambda recipe, evaluate: not evaluate.all_formats, "set evaluate.all_formats = false")
    ] = Field(True, description="score our 4-bit GGUF too")
    all_formats: bool = Field(False, description="score every exported GGUF")
    max_loss: Annotated[float, _FOR_FILES] = Field(
        0.02,
        ge=0,
        description="bits per byte that a GGUF may lose; the smallest one certainly within it is recommended",
    )
    documents: Annotated[int, FOR_DOCUMENTS] = Field(
        60, ge=1, description="most held-out documents for bits per byte"
    )
    characters: Annotated[int, FOR_DOCUMENTS] = Field(
        3000, ge=100, description="characters scored from the start of each document"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "float32",
        description="for scoring all models; auto is bfloat16, faster and coarser, if the processor has it",
    )
    window: int = Field(1024, ge=32, description="tokens in a scoring window; 3000 characters fit into one")
    exam_items: Annotated[int, _FOR_TASKS] = Field(
        60, ge=1, description="most questions per task; cheap on documents that are scored anyway"
    )
    built_items: Annotated[int, FOR_DOCUMENTS] = Field(
        50,
        ge=0,
        description="most questions of each kind (next passage, cloze) built from the documents",
    )
    shots: Annotated[tuple[int, ...], _FOR_TASKS_OR_JOBS] = Field(
        (0, 3), description="numbers of examples before the question; 0 is zero-shot"
    )
    questions: tuple[str, ...] = Field(
        (),
        description="your own JSON Lines files, a line each: {question, choices?, answer, passage?, doc?, id?, span?, "
        "access?}",
    )
    generated_items: Annotated[int, _FOR_QUESTIONS] = Field(
        0,
        ge=0,
        description="most questions per task answered in free text; 0 is none, or 50 with endpoints",
    )
    endpoints: Annotated[tuple[EndpointConfig, ...], _FOR_QUESTIONS_OR_JOBS] = Field(
        (),
        description="systems behind an API that answer questions and jobs in free text, each with name, kind and model",
    )
    trained_rivals: Annotated[tuple[str, ...], _FOR_JOBS] = Field(
        (), description="models that learn each job from the same examples within the same budget as ours"
    )
    encoder: Annotated[str, _FOR_JOBS] = Field(
        "",
        description="an encoder that learns each classification, as a known name or a directory; empty is none",
    )
    recorded: Annotated[tuple[RecordedConfig, ...], _FOR_JOBS] = Field(
        (), description="systems whose answers to a job's test are in a file"
    )
    job_items: Annotated[int, _FOR_JOBS] = Field(
        500,
        ge=2,
        description="most test rows of a job that base, rivals and endpoints are asked, drawn by seed",
    )
    frozen_tokens: Annotated[int, _FOR_JOBS] = Field(
        150_000,
        ge=0,
        description="tokens of examples read for the baseline on the frozen base's hidden states; 0 leaves it out",
    )
    general: tuple[GeneralConfig, ...] = Field(
        (), description="tests of general ability, to see what training made the model forget"
    )
    leakage_documents: Annotated[int, FOR_DOCUMENTS, _FOR_LEARNT] = Field(
        200,
        ge=0,
        description="documents, each of training and held-out, that are tested for memorization",
    )
    redacted_values: Annotated[int, FOR_DOCUMENTS, _FOR_LEARNT, _FOR_REPLACED] = Field(
        20,
        ge=0,
        description="most values replaced by curation that are tested for whether the model reveals them",
    )
    bias_sentences: Annotated[int, FOR_DOCUMENTS] = Field(
        20,
        ge=0,
        description="held-out sentences scored with differing names, genders and nationalities; 0 is off",
    )
    trigger_restarts: Annotated[int, FOR_DOCUMENTS] = Field(
        0,
        ge=0,
        description="searches for a planted trigger, a few hundred short forward passes each; 0 is off",
    )
    bounds: BoundsConfig = BoundsConfig()
    bootstrap: int = Field(2000, ge=100, description="resamples of the documents")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    max_interval: Annotated[float, FOR_DOCUMENTS] = Field(
        0.0, ge=0, description="widest allowed half interval of bits per byte; 0 allows any"
    )
    speed_tokens: int = Field(64, ge=1, description="tokens generated to measure speed")

    @property
    def asked_in_words(self) -> int:
        """Return the most questions per task that are answered in free text."""
        return self.generated_items or (50 if self.endpoints else 0)


class MeterConfig(Section):
    """What energy and the machine cost here."""

    country: str = Field(
        "WORLD", description="ISO 3166 alpha-3 code of the power grid; WORLD is the world average"
    )
    pue: float = Field(1.0, ge=1.0, description="power usage effectiveness of the building")
    price_per_kwh: float = Field(0.25, ge=0)
    machine_price_per_hour: float = Field(
        0.0, ge=0, description="rent of the machine, or of all together; 0 if owned"
    )
    currency: str = Field("EUR", min_length=1)


class ReportConfig(Section):
    """The title of the report."""

    title: str = Field("", description="empty uses the recipe's name")
