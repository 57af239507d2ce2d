"""The stage *evaluate*: measure our model and others on held-out documents."""

from __future__ import annotations

from pathlib import Path

from tinsmith.base.files import sha256_file
from tinsmith.evaluate.own_questions import read_own_questions
from tinsmith.meter.planner import BASE_MEMORY_BYTES, Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.stages.stage import Stage
from tinsmith.stages.train import base_model

RIVAL_SIZE = 2.0  # a rival of unknown size is taken to be twice ours
TOKENS_PER_EXAM_TEXT = 300
TOKENS_PER_BUILT_QUESTION = 130  # its opening is read anyway
_REUSABLE = ("about", "bits", "exam", "leakage", "canaries", "asked-back", "bias", "triggers", "general")


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    config = recipe.evaluate
    bits = config.documents * config.characters / scale.bytes_per_token
    # The examples shown before a question are the same for all items, so they are read once.
    exam = len(recipe.tasks) * config.exam_items * len(config.shots) * TOKENS_PER_EXAM_TEXT
    built = 2 * config.built_items * TOKENS_PER_BUILT_QUESTION
    tokens = bits + exam + built
    # Ours and its base, those of our GGUF files that are scored, and each rival.
    files = len(recipe.package.formats) if config.ladder else int(config.quantised)
    sizes = [1.0, 1.0] + [1.0] * files + [RIVAL_SIZE] * len(config.rivals)
    seconds = sum(scale.forward_seconds(tokens, size) for size in sizes)
    memory = BASE_MEMORY_BYTES + 4 * scale.parameters * max(sizes)
    return Cost(20 + seconds, 5e6, memory, tokens * len(sizes))


def _models(recipe: Recipe) -> tuple[str, ...]:
    return (*base_model(recipe), *recipe.evaluate.rivals)


def _file_stamps(recipe: Recipe) -> list[str] | None:
    """Return the hash of each file of questions or of a general test; None if the recipe names none."""
    from tinsmith.evaluate.families.general_files import general_stamps

    config = recipe.evaluate
    read_own_questions(config.questions)
    own = [f"{name}:{sha256_file(Path(name).expanduser())}" for name in config.questions]
    return [*own, *general_stamps(config.general)] or None


def _check(recipe: Recipe) -> None:
    """Refuse a damaged rival or questions that cannot be asked. Raises RecipeError, AssetError or LLMError."""
    from tinsmith.stages.evaluate.answers import check_words

    _file_stamps(recipe)
    check_words(recipe.evaluate)
    if recipe.evaluate.rivals:
        from tinsmith.evaluate.preflight import check_rivals

        check_rivals(recipe.evaluate)


def _prefetch(recipe: Recipe) -> None:
    if recipe.evaluate.rivals:
        from tinsmith.evaluate.preflight import fetch_rivals

        fetch_rivals(recipe.evaluate)


STAGE = Stage(
    "evaluate",
    version=3,
    purpose="measuring",
    estimate=_estimate,
    inputs=("ingest", "split", "refine", "tokenize", "train", "package"),
    sections=("model", "tasks", "meter"),
    models=_models,
    files=_file_stamps,
    check=_check,
    prefetch=_prefetch,
    resumable=True,
    reusable=tuple(f"items/{kind}-*.json*" for kind in _REUSABLE),
)
