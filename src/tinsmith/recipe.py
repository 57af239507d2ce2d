"""The whole configuration of a run on one page: one model per section, every field with unit and default."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, NonNegativeInt, ValidationInfo, field_validator, model_validator

from tinsmith.recipe_corpus import (
    CurateConfig,
    Fraction,
    IngestConfig,
    RefineConfig,
    Section,
    SplitConfig,
    TeacherConfig,
)

GgufFormat = Literal["f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"]


FAMILIES = ("llama", "qwen3", "phi", "gpt2", "bloom", "gemma3")  # that fresh weights can be made of


class ModelConfig(Section):
    """Where the weights start."""

    base: str = Field(
        "smollm2-135m", description="named model, local directory, GGUF file or Hugging Face id"
    )
    scratch: str | None = Field(
        None,
        description="family@size such as llama@15m, or a published shape such as phi-2: fresh weights",
    )
    tokenizer: str = Field(
        "base", description="base, or bpe@16k: byte-level BPE of that size, trained on the training documents"
    )

    @field_validator("scratch")
    @classmethod
    def _scratch_parses(cls, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(r"\w+@[0-9]+(\.[0-9]+)?[kmb]|[a-z][a-z0-9.-]*", text):
            raise ValueError("write family@size, for example llama@15m, or the name of a published shape")
        family, sized, _ = (text or "").partition("@")
        if sized and family not in FAMILIES:
            raise ValueError(f"no family is called {family}; there are {', '.join(FAMILIES)}")
        return text

    @field_validator("tokenizer")
    @classmethod
    def _tokenizer_parses(cls, text: str) -> str:
        if text != "base" and not re.fullmatch(r"bpe@[1-9][0-9]*k?", text):
            raise ValueError("write base, or bpe@SIZE such as bpe@16k")
        return text

    @model_validator(mode="after")
    def _own_tokenizer_needs_own_weights(self) -> ModelConfig:
        if self.tokenizer != "base" and not self.scratch:
            raise ValueError(
                "the base's weights know the base's tokens only; set scratch, or tokenizer = 'base'"
            )
        return self


class TaskConfig(Section):
    """A question over a document's text with an answer from its metadata."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    question: str = Field(
        description="template; {text} is the document's opening, {choices} the choices, {key} a meta key"
    )
    answer: str = Field(description="template over meta, for example {category}")
    choices: tuple[str, ...] = Field(
        (), description="possible answers; empty means: those seen in training documents"
    )
    characters: int = Field(1200, gt=0, description="how much of the document's opening {text} holds")


class CanaryConfig(Section):
    """Random secrets planted among the training sequences, to measure how far such are learnt by heart."""

    each: int = Field(
        0,
        ge=0,
        description="canaries for each number of repeats; 0 plants none. A model that has some is for measuring",
    )
    repeats: tuple[NonNegativeInt, ...] = Field(
        (0, 1, 4, 16), min_length=1, description="sequences that hold a canary; 0 is never planted, the floor"
    )


class TokenizeConfig(Section):
    """How text becomes rows of tokens."""

    context: int = Field(512, ge=32, description="tokens in a packed row")
    task_share: Fraction = Field(
        1.0, description="share of training documents whose opening ends in a task's question"
    )
    conversations: tuple[str, ...] = Field(
        (), description="JSON Lines files for sft: {messages: [{role, content}, ...]} a line"
    )
    preferences: tuple[str, ...] = Field(
        (), description="JSON Lines files for dpo: {prompt, chosen, rejected} a line, texts or messages"
    )
    canaries: CanaryConfig = CanaryConfig()


class LoraConfig(Section):
    """Low-rank adapters, merged into the weights when training is over."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0, description="the adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(
        (), description="names of linear layers such as q_proj; empty means all within the blocks"
    )


class DistilConfig(Section):
    """A bigger teacher, whose distributions are learnt beside the text itself."""

    teacher: str = Field(
        "", description="named model, directory, GGUF or id; empty is the model that streamline began with"
    )
    temperature: float = Field(1.0, gt=0, description="of both distributions")
    share: Fraction = Field(
        0.5, description="of the teacher in the loss; the rest is next-token cross-entropy"
    )
    reverse: Fraction = Field(
        0.0, description="0 is KL(teacher to student), 1 is KL(student to teacher), between is their mix"
    )
    top_k: int = Field(
        0, ge=0, description="logits a place that are cached on disk once; 0 keeps the teacher in memory"
    )


class DpoConfig(Section):
    """Direct preference optimisation."""

    beta: float = Field(0.1, gt=0, description="how dearly leaving the starting model is paid for")


class StreamlineConfig(Section):
    """A smaller model out of a bigger one, before training; 0 leaves a dimension as it is."""

    vocabulary: int = Field(0, ge=0, description="tokens to keep: those that the training documents use most")
    layers: int = Field(0, ge=0, description="layers to keep: those whose absence costs most")
    mlp: int = Field(0, ge=0, description="inner width of each MLP: the most active channels are kept")


Objective = Literal["next_token", "sft", "distil", "dpo"]


class TrainConfig(Section):
    """How long and how to learn."""

    objective: Objective | dict[Objective, Annotated[float, Field(gt=0)]] = Field(
        "next_token",
        description="next_token, sft, distil or dpo; or a mixture {next_token = 0.8, sft = 0.2}",
    )
    trainable: Literal["all", "lora"] = Field(
        "all", description="all weights, or low-rank adapters beside frozen ones, at about ten times the rate"
    )
    lora: LoraConfig = LoraConfig()
    distil: DistilConfig = DistilConfig()
    dpo: DpoConfig = DpoConfig()
    streamline: StreamlineConfig = StreamlineConfig()

    budget: str = Field(
        "8m", description="time (8m, 1.5h, 90s), tokens (200k tokens), steps (20 steps) or epochs (2 epochs)"
    )
    optimizer: Literal["adamw", "muon"] = Field("adamw")
    learning_rate: float = Field(5e-4, gt=0, description="peak")
    weight_decay: float = Field(0.01, ge=0)
    batch_tokens: int = Field(2048, gt=0, description="tokens in one optimiser step")
    micro_rows: int = Field(1, ge=1, description="rows in one forward pass")
    schedule: Literal["trapezoid", "cosine"] = Field(
        "trapezoid", description="rise, plateau and linear fall; or rise and half a cosine down to zero"
    )
    warmup: Fraction = Field(0.05, description="share of the budget")
    decay: Fraction = Field(0.5, description="share of the budget at the end, down to zero; for trapezoid")
    clip_norm: float = Field(1.0, gt=0)
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU where there is one")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto measures both and takes the faster"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="auto compiles where the run is long enough to repay it"
    )
    activation_checkpointing: bool = Field(
        False, description="keep one state a layer and compute the rest again: less memory, a third slower"
    )
    checkpoint_seconds: float = Field(60.0, gt=0, description="time between checkpoints")
    spike: float = Field(
        8.0,
        ge=0,
        description="a jump of the loss is trouble from so many spreads of recent losses on; 0 is off",
    )
    rollbacks: int = Field(
        2, ge=0, description="returns to earlier weights, at half the rate, before trouble stops the run"
    )

    @field_validator("budget")
    @classmethod
    def _budget_parses(cls, text: str) -> str:
        Budget.parse(text)
        return text

    @field_validator("objective", mode="before")
    @classmethod
    def _objectives_are_known(cls, value: Any) -> Any:
        # Before pydantic, which would tell of each form that the field may have.
        named = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
        known = get_args(Objective)
        if not named or set(named) - set(known):
            raise ValueError(f"write one of {', '.join(known)}, or a mixture {{next_token = 0.8, sft = 0.2}}")
        return value

    @model_validator(mode="after")
    def _a_teacher_is_known(self) -> TrainConfig:
        if "distil" in self.shares and not self.distil.teacher and self.streamline == StreamlineConfig():
            raise ValueError("name distil.teacher: without streamline there is no bigger model to learn from")
        return self

    @model_validator(mode="after")
    def _what_is_set_is_read(self) -> TrainConfig:
        readers = {
            "lora": (self.lora != LoraConfig(), self.trainable == "lora", "train.trainable = 'lora'"),
            "distil": (self.distil != DistilConfig(), "distil" in self.shares, "the objective distil"),
            "dpo": (self.dpo != DpoConfig(), "dpo" in self.shares, "the objective dpo"),
        }
        for name, (given, read, reader) in readers.items():
            if given and not read:
                raise ValueError(f"nothing would read train.{name}: ask for {reader}, or leave it out")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Return the objectives with their shares of a step, which add up to 1."""
        given: dict[str, float] = (
            {self.objective: 1.0} if isinstance(self.objective, str) else dict(self.objective)  # type: ignore[arg-type]
        )
        return {name: share / sum(given.values()) for name, share in given.items()}


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


class EndpointConfig(TeacherConfig):
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


class Recipe(Section):
    """One recipe goes in, one bundle comes out."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="names the run directory")
    seed: int = Field(7, ge=0)
    runs: str = Field("runs", description="directory for runs, relative to the working directory")
    ingest: IngestConfig
    curate: CurateConfig = CurateConfig()
    split: SplitConfig = SplitConfig()
    refine: RefineConfig = RefineConfig()
    model: ModelConfig = ModelConfig()
    tasks: tuple[TaskConfig, ...] = ()
    tokenize: TokenizeConfig = TokenizeConfig()
    train: TrainConfig = TrainConfig()
    package: PackageConfig = PackageConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    meter: MeterConfig = MeterConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _task_names_differ(self) -> Recipe:
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError("two tasks have one name")
        return self

    @model_validator(mode="after")
    def _objectives_have_examples(self) -> Recipe:
        files = {"sft": self.tokenize.conversations, "dpo": self.tokenize.preferences}
        field = {"sft": "tokenize.conversations", "dpo": "tokenize.preferences"}
        for name in sorted(files.keys() & self.train.shares.keys()):
            if not files[name] and not self.tasks:
                raise ValueError(f"train.objective has {name}: name files in {field[name]}, or write a task")
        return self

    @model_validator(mode="after")
    def _adapters_have_a_base(self) -> Recipe:
        if self.model.scratch and self.train.trainable == "lora":
            raise ValueError(
                "train.trainable: adapters beside the fresh weights of model.scratch would leave these as random as "
                "they are; set it to all"
            )
        return self

    @model_validator(mode="after")
    def _streamline_has_a_base(self) -> Recipe:
        if self.model.scratch and self.train.streamline != StreamlineConfig():
            raise ValueError(
                "train.streamline makes a trained base smaller; with model.scratch name a smaller size there"
            )
        return self


class Budget(Section):
    """How much training: an amount of seconds, tokens, steps or epochs."""

    kind: Literal["seconds", "tokens", "steps", "epochs"]
    amount: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read '8m', '1.5h', '90s', '200k tokens', '20 steps' or '2 epochs'."""
        match = re.fullmatch(r"\s*([0-9.]+)\s*([kM]?)\s*(s|m|h|tokens?|steps?|epochs?)\s*", text)
        try:
            number = float(match[1]) if match else 0.0
        except ValueError:
            number = 0.0
        if not match or number <= 0 or (match[2] and match[3][0] not in "ts"):
            raise ValueError(
                f"cannot read the budget {text!r}; write 8m, 1.5h, 200k tokens, 20 steps or 2 epochs"
            )
        number *= {"": 1, "k": 1e3, "M": 1e6}[match[2]]
        unit = match[3]
        if unit in ("s", "m", "h"):
            return cls(kind="seconds", amount=number * {"s": 1, "m": 60, "h": 3600}[unit])
        kinds: dict[str, Literal["tokens", "steps", "epochs"]] = {"t": "tokens", "e": "epochs", "s": "steps"}
        return cls(kind=kinds[unit[0]], amount=number)
