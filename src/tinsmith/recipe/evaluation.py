"""The sections of a recipe about exports, measurements and the report. Every field with unit and default."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from tinsmith.recipe.section import LLMConfig, Section

GgufFormat = Literal["f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"]


class PackageConfig(Section):
    """What is handed over, and how near it must be to what was trained."""

    formats: tuple[GgufFormat, ...] = Field(
        ("f16", "q8_0", "q4_k_m"), min_length=1, description="of f16, q8_0, q6_k, q5_k_m, q4_k_m and q3_k_m"
    )
    precision: Literal["float32", "float16", "bfloat16"] = Field(
        "float16", description="of the saved safetensors"
    )
    parity_prompts: int = Field(200, ge=1)
    parity_positions: int = Field(2000, ge=1)
    max_kl: dict[str, float] = Field(
        default={
            "saved": 0.005,
            "f16": 0.005,
            "q8_0": 0.05,
            "q6_k": 0.1,
            "q5_k_m": 0.2,
            "q4_k_m": 0.4,
            "q3_k_m": 1.0,
        },
        description="mean KL, nats, per format; formats not named keep these",
    )
    min_top1: dict[str, float] = Field(
        default={
            "saved": 0.95,
            "f16": 0.95,
            "q8_0": 0.85,
            "q6_k": 0.8,
            "q5_k_m": 0.75,
            "q4_k_m": 0.65,
            "q3_k_m": 0.5,
        },
        description="top-1 agreement per format; formats not named keep these",
    )

    @field_validator("max_kl", "min_top1", mode="before")
    @classmethod
    def _keep_other_bounds(cls, given: Any, info: ValidationInfo) -> Any:
        defaults = cls.model_fields[str(info.field_name)].default
        if not isinstance(given, dict):
            return given
        if unknown := given.keys() - defaults.keys():
            raise ValueError(
                f"no format is called {', '.join(sorted(unknown))}; there are {', '.join(defaults)}"
            )
        return {**defaults, **given}


class EndpointConfig(LLMConfig):
    """A system behind an API that answers the same questions in words. Its key comes from an environment variable."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="what the report calls it; names its files too"
    )
    kind: Literal["openai", "anthropic", "gemini"] = Field(
        "openai", description="openai is any OpenAI-compatible endpoint"
    )
    model: str = Field(min_length=1, description="the model's name at the endpoint")
    max_tokens: int = Field(
        64, ge=1, description="of an answer; a model that thinks first needs some thousand"
    )


class BoundsConfig(Section):
    """What figures of the finished model may be, by metric or its beginning up to a colon; empty demands nothing."""

    at_most: dict[str, float] = Field(
        {}, description='such as {"extracted:train" = 0.05, membership_found = 0.1}'
    )
    at_least: dict[str, float] = Field({}, description='such as {"accuracy:next_passage" = 0.5}')
    action: Literal["fail", "report"] = Field(
        "fail", description="fail ends the build once everything is measured"
    )


class GeneralConfig(Section):
    """A test of general ability in files of your own, asked before and after training through lm-eval."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Literal["arc", "openbookqa", "boolq", "mmlu", "blimp", "legalbench"] = Field(
        description="whose fields the rows have and whose prompt is used"
    )
    path: str = Field(
        description="a .jsonl, .json, .csv, .tsv or .parquet file, or a directory of them; nothing is fetched"
    )
    limit: int = Field(200, ge=2, description="rows, at most, drawn by the recipe's seed")


class EvaluateConfig(Section):
    """What is measured on held-out documents, and against whom."""

    rivals: tuple[str, ...] = Field(
        (), description="named models, directories, GGUF files or Hugging Face ids"
    )
    quantised: bool = Field(True, description="score our own 4-bit GGUF beside the 4-bit rivals")
    ladder: bool = Field(False, description="score every GGUF that the package holds, each with all items")
    max_loss: float = Field(
        0.02,
        ge=0,
        description="bits per byte that a file may lose; the smallest that surely stays within is recommended",
    )
    documents: int = Field(60, ge=1, description="held-out documents for bits per byte, at most")
    characters: int = Field(3000, ge=100, description="how much of each document's opening is scored")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "float32",
        description="to score all subjects in; auto is bfloat16, quicker and coarser, where the processor has it",
    )
    window: int = Field(1024, ge=32, description="tokens in a scoring window; 3000 characters fit into one")
    exam_items: int = Field(60, ge=1, description="per task, at most; cheap on documents scored anyway")
    built_items: int = Field(
        50,
        ge=0,
        description="questions made from the documents: next passage and cloze, so many of each at most",
    )
    shots: tuple[int, ...] = Field((0, 3), description="examples shown before the question; 0 is zero-shot")
    questions: tuple[str, ...] = Field(
        (),
        description="JSON Lines files of your own: {question, choices?, answer, passage?, doc?, id?, span?} a line",
    )
    generated_items: int = Field(
        0,
        ge=0,
        description="questions a task that are answered in words, at most; 0 is none, or 50 with endpoints",
    )
    endpoints: tuple[EndpointConfig, ...] = Field(
        (),
        description="systems behind an API that answer in words beside ours, each with name, kind and model",
    )
    general: tuple[GeneralConfig, ...] = Field(
        (), description="tests of general ability: what training made the model forget"
    )
    leakage_documents: int = Field(
        200,
        ge=0,
        description="openings of training and of held-out documents, each, that are asked whether they leak",
    )
    asked_back: int = Field(
        20,
        ge=0,
        description="values that curation replaced in training documents, at most, for which the model is asked",
    )
    bias_sentences: int = Field(
        20,
        ge=0,
        description="sentences of held-out documents behind names, genders, nationalities that differ; 0 asks none",
    )
    trigger_restarts: int = Field(
        0,
        ge=0,
        description="searches for a planted trigger; each costs some hundred short forward passes, 0 searches none",
    )
    bounds: BoundsConfig = BoundsConfig()
    bootstrap: int = Field(2000, ge=100, description="resamples over documents")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    max_interval: float = Field(
        0.0, ge=0, description="widest half interval of bits per byte allowed; 0 asks for nothing"
    )
    speed_tokens: int = Field(64, ge=1, description="tokens generated to measure speed")

    @property
    def asked_in_words(self) -> int:
        """Return how many questions a task are answered in words, at most."""
        return self.generated_items or (50 if self.endpoints else 0)


class MeterConfig(Section):
    """What a joule costs here."""

    country: str = Field("WORLD", description="ISO 3166 alpha-3 code of the grid; WORLD is the average")
    pue: float = Field(1.0, ge=1.0, description="power usage effectiveness of the building")
    price_per_kwh: float = Field(0.25, ge=0)
    machine_price_per_hour: float = Field(0.0, ge=0, description="rent of the machine; 0 if owned")
    currency: str = Field("EUR", min_length=1)


class ReportConfig(Section):
    """How the report introduces itself."""

    title: str = Field("", description="empty takes the recipe's name")
