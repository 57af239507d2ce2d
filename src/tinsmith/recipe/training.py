"""The recipe sections about the model and its training."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from tinsmith.recipe.objectives import OBJECTIVES, token_sets
from tinsmith.recipe.section import FOR_DOCUMENTS, Fraction, ReadWhen, Section

FAMILIES = ("llama", "qwen3", "phi", "gpt2", "bloom", "gemma3")  # of fresh weights


class ModelConfig(Section):
    """Where the weights start."""

    base: Annotated[
        str,
        ReadWhen(
            lambda recipe, model: not model.scratch or model.tokenizer == "base",
            "leave out model.scratch, or set model.tokenizer = 'base'",
        ),
    ] = Field(
        "smollm2-135m",
        description="named model, local directory, GGUF file or Hugging Face id (owner/model@commit)",
    )
    scratch: Annotated[str | None, FOR_DOCUMENTS] = Field(
        None,
        description="family@size such as llama@15m, or a published shape such as phi-2: fresh weights",
    )
    tokenizer: Annotated[str, FOR_DOCUMENTS] = Field(
        "base", description="base, or bpe@16k: byte-level BPE of that size, trained on the training documents"
    )

    @field_validator("scratch")
    @classmethod
    def _scratch_parses(cls, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(r"\w+@[0-9]+(\.[0-9]+)?[kmb]|[a-z][a-z0-9.-]*", text):
            raise ValueError("write family@size, for example llama@15m, or the name of a published shape")
        family, sized, _ = (text or "").partition("@")
        if sized and family not in FAMILIES:
            raise ValueError(f"unknown family {family}; use one of {', '.join(FAMILIES)}")
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
                "the base's weights fit only the base's tokenizer; set scratch, or tokenizer = 'base'"
            )
        return self


class TaskConfig(Section):
    """A question about a document's text whose answer is in its metadata."""

    read_when: ClassVar[ReadWhen | None] = FOR_DOCUMENTS

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    question: str = Field(
        description="template; {text} is the document's opening, {choices} the choices, {key} a meta key"
    )
    answer: str = Field(description="template over meta, for example {category}")
    choices: tuple[str, ...] = Field(
        (), description="possible answers; empty means those of the training documents"
    )
    characters: int = Field(1200, gt=0, description="how much of the document's opening {text} holds")


class CanaryConfig(Section):
    """Random secrets planted among the training sequences, to measure memorization."""

    each: int = Field(
        0,
        ge=0,
        description="canaries for each number of repeats; 0 plants none. Use a model with canaries for measuring only",
    )
    repeats: Annotated[
        tuple[NonNegativeInt, ...],
        ReadWhen(lambda recipe, canaries: canaries.each > 0, "set {here}.each"),
    ] = Field(
        (0, 1, 4, 16),
        min_length=1,
        description="sequences that hold a canary; 0 is never planted, as the baseline",
    )


def _for_tokens(tokens: str, remedy: str) -> ReadWhen:
    """Say that a field is read if an objective learns from a token set."""
    return ReadWhen(lambda recipe, section: tokens in token_sets(recipe.train.shares), remedy)


_FOR_DOCUMENTS = _for_tokens("", "put next_token into train.objective")


class TokenizeConfig(Section):
    """How text becomes sequences of tokens."""

    read_when: ClassVar[ReadWhen | None] = FOR_DOCUMENTS

    context: int = Field(512, ge=32, description="tokens in a sequence, at most")
    task_share: Annotated[
        Fraction, ReadWhen(lambda recipe, tokenize: bool(recipe.tasks), "write a task"), _FOR_DOCUMENTS
    ] = Field(1.0, description="share of training documents whose opening ends in a task's question")
    conversations: Annotated[tuple[str, ...], _for_tokens("sft", "put sft into train.objective")] = Field(
        (), description="JSON Lines files for sft: {messages: [{role, content}, ...]} a line"
    )
    preferences: Annotated[tuple[str, ...], _for_tokens("dpo", "put dpo into train.objective")] = Field(
        (), description="JSON Lines files for dpo: {prompt, chosen, rejected} a line, texts or messages"
    )
    canaries: Annotated[CanaryConfig, _FOR_DOCUMENTS] = CanaryConfig()


class LoraConfig(Section):
    """Low-rank adapters, merged into the weights after training."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0, description="the adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(
        (), description="names of linear layers such as q_proj; empty means all within the blocks"
    )


_HAS_SHARE = ReadWhen(lambda recipe, distil: distil.share > 0, "raise train.distil.share above 0")


class DistilConfig(Section):
    """Distillation: learn a teacher's distributions beside the text itself."""

    teacher: Annotated[str, _HAS_SHARE] = Field(
        "",
        description="named model, directory, GGUF file or Hugging Face id; empty is the base before streamline",
    )
    temperature: Annotated[float, _HAS_SHARE] = Field(1.0, gt=0, description="of both distributions")
    share: Fraction = Field(
        0.5, description="share of the teacher in the loss; the rest is next-token cross-entropy"
    )
    reverse: Annotated[Fraction, _HAS_SHARE] = Field(
        0.0, description="0 is KL(teacher to student), 1 is KL(student to teacher), values between mix them"
    )
    top_k: Annotated[int, _HAS_SHARE] = Field(
        0, ge=0, description="teacher tokens to cache on disk at each position; 0 keeps the teacher in memory"
    )


class DpoConfig(Section):
    """Direct preference optimisation."""

    beta: float = Field(
        0.1, gt=0, description="strength of the penalty for moving away from the starting model"
    )


class StreamlineConfig(Section):
    """Prune the base before training; 0 leaves a dimension as it is."""

    vocabulary: int = Field(
        0, ge=0, description="tokens to keep: the most frequent in the training documents"
    )
    layers: int = Field(0, ge=0, description="layers to keep: those whose removal would cost the most loss")
    mlp: int = Field(0, ge=0, description="inner width to keep of each MLP: its most active channels")


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


def _for_objective_of(section: str) -> ReadWhen:
    """Say that a section is read by the objectives that name it."""
    names = [name for name, spec in OBJECTIVES.items() if spec.section == section]
    return ReadWhen(
        lambda recipe, train: not train.shares.keys().isdisjoint(names),
        f"set train.objective = {' or '.join(map(repr, names))}",
    )


class TrainConfig(Section):
    """How long and how to learn."""

    read_when: ClassVar[ReadWhen | None] = FOR_DOCUMENTS
    always_read: ClassVar[frozenset[str]] = frozenset({"device", "precision"})  # for jobs too

    objective: str | dict[str, Annotated[float, Field(gt=0)]] = Field(
        "next_token",
        description=f"{', '.join(OBJECTIVES)}; or a mixture {{next_token = 0.8, sft = 0.2}}",
    )
    trainable: Literal["all", "lora"] = Field(
        "all", description="all weights, or low-rank adapters beside frozen ones, at about ten times the rate"
    )
    lora: Annotated[
        LoraConfig, ReadWhen(lambda recipe, train: train.trainable == "lora", "set train.trainable = 'lora'")
    ] = LoraConfig()
    distil: Annotated[DistilConfig, _for_objective_of("distil")] = DistilConfig()
    dpo: Annotated[DpoConfig, _for_objective_of("dpo")] = DpoConfig()
    streamline: Annotated[
        StreamlineConfig,
        ReadWhen(lambda recipe, train: not recipe.model.scratch, "choose a smaller size in model.scratch"),
    ] = StreamlineConfig()

    budget: str = Field(
        "8m", description="time (8m, 1.5h, 90s), tokens (200k tokens), steps (20 steps) or epochs (2 epochs)"
    )
    optimizer: Literal["adamw", "muon"] = Field("adamw")
    learning_rate: float = Field(5e-4, gt=0, description="peak")
    weight_decay: float = Field(0.01, ge=0)
    batch_tokens: int = Field(2048, gt=0, description="tokens in one optimiser step")
    micro_rows: int = Field(
        0,
        ge=0,
        description="rows in one forward pass; 0 is 1, and on a time budget the fastest of 1, 2 and 4",
    )
    schedule: Literal["trapezoid", "cosine"] = Field(
        "trapezoid", description="rise, plateau and linear fall; or rise and half a cosine down to zero"
    )
    warmup: Fraction = Field(0.05, description="share of the budget")
    decay: Annotated[
        Fraction,
        ReadWhen(lambda recipe, train: train.schedule == "trapezoid", "set train.schedule = 'trapezoid'"),
    ] = Field(0.5, description="share of the budget at the end, down to zero; for trapezoid")
    clip_norm: float = Field(1.0, gt=0)
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="of training and scoring; auto takes a GPU where there is one"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto measures both and takes bfloat16 where it is at least a tenth faster"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="auto compiles where the run is long enough to repay it, and on must be possible"
    )
    activation_checkpointing: bool = Field(
        False, description="keep one state per layer and recompute the rest: less memory, a third slower"
    )
    checkpoint_seconds: float = Field(60.0, gt=0, description="time between checkpoints")
    spike: float = Field(
        8.0,
        ge=0,
        description="roll back, or stop where no rollback is left, when the loss jumps by this many spreads of recent "
        "losses; 0 turns this off",
    )
    rollbacks: int = Field(
        2,
        ge=0,
        description="times to return to earlier weights, at half the rate, after a jump or a loss that is not finite; "
        "then training stops with an error",
    )

    @field_validator("budget")
    @classmethod
    def _budget_parses(cls, text: str) -> str:
        Budget.parse(text)
        return text

    @field_validator("objective", mode="before")
    @classmethod
    def _objectives_are_known(cls, value: Any) -> Any:
        # Before pydantic, which would report an error for each form that the field may take.
        named = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
        if not named or set(named) - OBJECTIVES.keys():
            raise ValueError(
                f"write one of {', '.join(OBJECTIVES)}, or a mixture {{next_token = 0.8, sft = 0.2}}"
            )
        return value

    @model_validator(mode="after")
    def _a_teacher_is_known(self) -> TrainConfig:
        if self.has_teacher and not self.distil.teacher and self.streamline == StreamlineConfig():
            raise ValueError("name distil.teacher: without streamline there is no larger model to learn from")
        return self

    @property
    def has_teacher(self) -> bool:
        """Say whether an objective learns from a teacher."""
        return any(OBJECTIVES[name].teacher_passes for name in self.shares)

    @property
    def shares(self) -> dict[str, float]:
        """Return the objectives with their shares of a step, which add up to 1."""
        given = {self.objective: 1.0} if isinstance(self.objective, str) else self.objective
        return {name: share / sum(given.values()) for name, share in given.items()}
