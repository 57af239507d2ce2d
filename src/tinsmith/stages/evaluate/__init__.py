"""The stage *evaluate*: measure our model and others on held-out documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import sha256_file
from tinsmith.evaluate.families import families
from tinsmith.evaluate.own_questions import read_own_questions
from tinsmith.meter.planner import BASE_MEMORY_BYTES, Cost, Scale
from tinsmith.recipe import MeterConfig, ModelConfig, Recipe, TaskConfig, TrainConfig
from tinsmith.stages.outbound import Outbound
from tinsmith.stages.stage import Stage
from tinsmith.stages.train import base_model

JOBS = "job"  # the family that measures jobs
RIVAL_SIZE = 2.0  # a rival of unknown size is taken to be twice ours


@dataclass(frozen=True)
class Settings:
    """What the stage reads beside its own section."""

    model: ModelConfig
    train: TrainConfig
    tasks: tuple[TaskConfig, ...]
    meter: MeterConfig


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    """Sum what the families cost, over the models that each of them asks."""
    config = recipe.evaluate
    probed = [1.0] if recipe.model.scratch else [1.0, 1.0]  # ours and its base
    files = len(recipe.package.formats) if config.all_formats else int(config.quantised)
    rivals = [RIVAL_SIZE] * len(config.rivals)
    models = {"probed": probed, "all": [*probed, *[1.0] * files, *rivals], "local": [1.0, *rivals]}
    tokens = seconds = 0.0
    for family in families():
        # Without documents only jobs are measured.
        if not recipe.ingest.sources and family.kind != JOBS:
            continue
        cost = family.cost(recipe, scale.bytes_per_token)
        sizes = models[cost.models]
        tokens += cost.tokens * len(sizes)
        seconds += cost.seconds + sum(scale.forward_seconds(cost.tokens, size) for size in sizes)
    # Opening a GGUF file takes several float32 copies of it.
    memory = BASE_MEMORY_BYTES + 16 * scale.parameters * max(models["all"])
    return Cost(4 + seconds, 5e6, memory, tokens)


def _models(recipe: Recipe) -> tuple[str, ...]:
    config = recipe.evaluate
    encoders = [config.encoder] if config.encoder else []
    return (*dict.fromkeys([*base_model(recipe), *config.rivals, *config.trained_rivals, *encoders]),)


def _file_stamps(recipe: Recipe) -> list[str] | None:
    """Return the hash of each file of questions, recorded answers or of a general test; None if there is none."""
    from tinsmith.evaluate.general_files import general_stamps

    config = recipe.evaluate
    read_own_questions(config.questions)
    own = [f"{name}:{sha256_file(Path(name).expanduser())}" for name in config.questions]
    own += [f"{each.file}:{sha256_file(Path(each.file).expanduser())}" for each in config.recorded]
    return [*own, *general_stamps(config.general)] or None


def _check(recipe: Recipe) -> None:
    """Refuse damaged rivals, questions that cannot be asked and bounds on what is not measured.

    Raises RecipeError, AssetError or LLMError.
    """
    from tinsmith.evaluate.bounds import check_bound_names
    from tinsmith.evaluate.names import check_names
    from tinsmith.stages.evaluate.answers import check_words

    if recipe.tasks and not recipe.evaluate.shots:
        raise RecipeError(
            "lists no number of examples, so that no task would be asked",
            where="evaluate.shots",
            next_step="write [0] to ask without examples, or leave it out",
        )
    check_bound_names(recipe, families())
    check_names(recipe.evaluate)
    _check_recorded(recipe)
    _file_stamps(recipe)
    check_words(recipe.evaluate)
    if recipe.evaluate.rivals:
        from tinsmith.evaluate.preflight import check_rivals

        check_rivals(recipe.evaluate)


def _check_recorded(recipe: Recipe) -> None:
    """Refuse recorded answers without a file, or to no job of the recipe. Raises RecipeError."""
    from tinsmith.evaluate.recorded import job_of

    for number, recorded in enumerate(recipe.evaluate.recorded):
        where = f"evaluate.recorded.{number}"
        job_of(recorded, recipe.jobs, where=where)
        if not Path(recorded.file).expanduser().is_file():
            raise RecipeError(
                f"there is no file {recorded.file}", where=f"{where}.file", next_step="correct the path"
            )


def _prefetch(recipe: Recipe) -> None:
    if recipe.evaluate.rivals:
        from tinsmith.evaluate.preflight import fetch_rivals

        fetch_rivals(recipe.evaluate)


def _reusable() -> tuple[str, ...]:
    """Return patterns of the items with a fingerprint: bits and answers share one, each probe has its own."""
    kinds = ("about", "bits", "exam", JOBS, *(family.kind for family in families() if family.prepare))
    # What was sent has left, whatever the recipe says now.
    return (*(f"items/{kind}-*.json*" for kind in kinds), "answers/*/sent.jsonl")


def _asks(recipe: Recipe) -> tuple[Outbound, ...]:
    """Return the endpoints, with the most that each is sent about documents and jobs together."""
    config = recipe.evaluate
    if not config.endpoints:
        return ()
    from tinsmith.evaluate.job_requests import most_sent as most_about_jobs
    from tinsmith.stages.evaluate.answers import most_sent

    def most() -> tuple[int, int]:
        questions = most_sent(config, recipe.tasks) if recipe.ingest.sources else (0, 0)
        rows = most_about_jobs(config.job_items, recipe.jobs)
        return questions[0] + rows[0], questions[1] + rows[1]

    return tuple(
        Outbound(f"evaluate.endpoints.{number}", endpoint, most)
        for number, endpoint in enumerate(config.endpoints)
    )


STAGE = Stage(
    "evaluate",
    version=14,
    purpose="measuring",
    estimate=_estimate,
    inputs=("ingest", "split", "refine", "tokenize", "train", "examples", "learn", "package"),
    settings=Settings,
    models=_models,
    files=_file_stamps,
    check=_check,
    asks=_asks,
    prefetch=_prefetch,
    resumable=True,
    reusable=_reusable(),
)
