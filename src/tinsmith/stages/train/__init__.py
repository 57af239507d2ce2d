"""The stage *train*: train the base, or fresh weights, on the token sets of its objectives."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from tinsmith.base.errors import RecipeError
from tinsmith.meter.planner import (
    ACTIVATION_GRADIENT_OPERATIONS,
    BASE_MEMORY_BYTES,
    FORWARD_OPERATIONS,
    WEIGHT_GRADIENT_OPERATIONS,
    Cost,
    Scale,
)
from tinsmith.model.presets import PRESETS, Preset
from tinsmith.recipe import EXAMPLE_FILES, OBJECTIVES, Budget, ModelConfig, Recipe, TrainConfig
from tinsmith.stages.stage import Stage

# Weights, gradients and two moments in float32; with adapters the weights, and little else.
TRAINING_BYTES_PER_PARAMETER = {"all": 16.0, "lora": 4.2}
LOGITS_AT_ONCE = 1 << 25
ACTIVATION_BYTES_PER_TOKEN = 2.5e6  # of a model of 135M parameters


@dataclass(frozen=True)
class Settings:
    """What the stage reads beside its own section."""

    model: ModelConfig


def published_shape(name: str) -> Preset:
    """Return a published shape. Raises RecipeError for an unknown name."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        raise RecipeError(
            f"no published shape is called {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            where="model.scratch",
            next_step=f"write family@size, such as llama@15m, or one of {', '.join(PRESETS)}",
        )
    return PRESETS[name]


def _check(recipe: Recipe) -> None:
    """Refuse an unknown shape, and a schedule that would fall before it has risen. Raises RecipeError."""
    config = recipe.train
    if config.schedule == "trapezoid" and config.warmup + config.decay > 1:
        raise RecipeError(
            f"warmup {config.warmup:g} and decay {config.decay:g} are more than the whole budget",
            where="train.decay",
            next_step="lower one of them until they are at most 1 together",
        )
    if recipe.model.scratch and "@" not in recipe.model.scratch:
        published_shape(recipe.model.scratch)


def base_model(recipe: Recipe) -> tuple[str, ...]:
    """Return the model that training starts from; fresh weights start from none."""
    return () if recipe.model.scratch else (recipe.model.base,)


def _base_and_teacher(recipe: Recipe) -> tuple[str, ...]:
    teacher = recipe.train.distil.teacher if recipe.train.has_teacher else ""
    return (*base_model(recipe), *([teacher] if teacher else []))


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    config = recipe.train
    budget, rate = Budget.parse(config.budget), _tokens_per_second(config, scale)
    tokens = {
        "seconds": budget.amount * rate,
        "tokens": budget.amount,
        "steps": budget.amount * config.batch_tokens,
        "epochs": budget.amount * _epoch_tokens(recipe, scale),
    }[budget.kind]
    state = TRAINING_BYTES_PER_PARAMETER[config.trainable] * scale.parameters
    # Where rows are chosen by timing, a step may be one micro-batch of up to four.
    most = min(4 * recipe.tokenize.context, max(config.batch_tokens, recipe.tokenize.context))
    at_once = config.micro_rows * recipe.tokenize.context or most
    # A piece of a micro-batch's logits a few times over, and the teacher in float32.
    logits = min(at_once * scale.vocabulary, LOGITS_AT_ONCE)
    memory = BASE_MEMORY_BYTES + state + 3 * 4 * logits + 4 * scale.teacher
    if not config.activation_checkpointing:
        # Layers times width, which grow with the parameters to the power of 2/3.
        width = (scale.parameters / 135e6) ** (2 / 3)
        memory += ACTIVATION_BYTES_PER_TOKEN * width * at_once
    # On disk lie the model and, while it runs, one checkpoint with its moments.
    return Cost(10 + tokens / rate, state, memory, tokens)


def _tokens_per_second(config: TrainConfig, scale: Scale) -> float:
    """Return the rate of training; activation checkpointing repeats the forward pass."""
    shares = [(share, OBJECTIVES[name]) for name, share in config.shares.items()]
    reference = sum(share * spec.reference_passes for share, spec in shares)
    operations = FORWARD_OPERATIONS * (1 + config.activation_checkpointing + reference)
    operations += ACTIVATION_GRADIENT_OPERATIONS
    operations += WEIGHT_GRADIENT_OPERATIONS if config.trainable == "all" else 0
    teacher = FORWARD_OPERATIONS * sum(share * spec.teacher_passes for share, spec in shares)
    return scale.operations_per_second / (operations * scale.parameters + teacher * scale.teacher)


def _epoch_tokens(recipe: Recipe, scale: Scale) -> float:
    """Return the tokens of all sets that are learnt from; tasks make about one example of each document."""
    from_tasks = scale.corpus_bytes if recipe.tasks else 0
    sizes = {tokens: scale.example_bytes.get(tokens, 0) + from_tasks for tokens in EXAMPLE_FILES}
    sizes[""] = scale.corpus_bytes
    return sum(sizes[OBJECTIVES[name].tokens] for name in recipe.train.shares) / scale.bytes_per_token


STAGE = Stage(
    "train",
    version=2,
    purpose="learning",
    estimate=_estimate,
    inputs=("tokenize",),
    settings=Settings,
    models=_base_and_teacher,
    check=_check,
    resumable=True,
    distributed=True,
    nondeterministic=(
        "log.jsonl",
        "schedule.jsonl",
        "runtime.json",
        "rollbacks.jsonl",
        "streamline.json",
        "adapters.json",
    ),
)
