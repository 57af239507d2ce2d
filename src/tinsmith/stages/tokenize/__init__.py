"""The stage *tokenize*: turn training documents into sequences of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import sha256_file
from tinsmith.meter.planner import BASE_MEMORY_BYTES, Cost, Scale
from tinsmith.recipe import EXAMPLE_FILES, ModelConfig, Recipe, TaskConfig, token_sets
from tinsmith.stages.stage import Stage, of_recipe

TOKENIZE_BYTES_PER_SECOND = 2e6
BYTES_PER_STORED_TOKEN = 5  # four for the token, one for whether it is a target


@dataclass(frozen=True)
class Settings:
    """What the stage reads beside its own section."""

    model: ModelConfig
    tasks: tuple[TaskConfig, ...]
    shared_run_words: int = of_recipe("split.shared_run_words")
    objective: str | Mapping[str, float] = of_recipe("train.objective")
    vocabulary: int = of_recipe("train.streamline.vocabulary")


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    seconds = 0.7 + scale.corpus_bytes / TOKENIZE_BYTES_PER_SECOND
    memory = BASE_MEMORY_BYTES + 2 * scale.corpus_bytes
    return Cost(seconds, BYTES_PER_STORED_TOKEN * scale.tokens, memory, scale.tokens)


def _vocabulary(recipe: Recipe) -> tuple[str, ...]:
    return (recipe.model.base,) if recipe.model.tokenizer == "base" else ()


def _example_stamps(recipe: Recipe) -> list[str]:
    """Return the hash of each file of conversations or preferences that an objective learns from."""
    learnt = token_sets(recipe.train.shares)
    fields = [field for tokens, field in EXAMPLE_FILES.items() if tokens in learnt]
    names = [name for field in fields for name in getattr(recipe.tokenize, field)]
    stamps = []
    for name in names:
        try:
            stamps.append(f"{name}:{sha256_file(Path(name).expanduser())}")
        except OSError as error:
            raise RecipeError(
                f"cannot be read ({error.strerror})",
                where=name,
                next_step="name JSON Lines files that exist",
            ) from None
    return stamps


STAGE = Stage(
    "tokenize",
    version=4,
    purpose="text to tokens",
    estimate=_estimate,
    inputs=("refine",),
    settings=Settings,
    models=_vocabulary,
    files=_example_stamps,
)
