"""The stage *package*: export the trained model, and prove that the exports equal it."""

from __future__ import annotations

from tinsmith.base.assets import KNOWN
from tinsmith.jobs.size import job_size
from tinsmith.meter.planner import BASE_MEMORY_BYTES, Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.stages.stage import Stage

BYTES_PER_PARAMETER = {
    "f16": 2.0,
    "q8_0": 1.07,
    "q6_k": 0.83,
    "q5_k_m": 0.72,
    "q4_k_m": 0.63,
    "q3_k_m": 0.51,
    "float32": 4.0,
    "float16": 2.0,
    "bfloat16": 2.0,
}
TOKENS_PER_PROMPT = 60


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    config = recipe.package
    models = bool(recipe.ingest.sources) + len(recipe.jobs)
    sizes = [job_size(job) for job in recipe.jobs]
    prompts = float(TOKENS_PER_PROMPT * bool(recipe.ingest.sources))
    prompts += sum(size.asked_tokens if size else TOKENS_PER_PROMPT for size in sizes)
    size = models * sum(BYTES_PER_PARAMETER[name] for name in (*config.formats, config.precision))
    readers = len(config.formats) + 3  # trained, saved, server
    tokens = (config.parity_positions * models + config.parity_prompts * prompts) * readers
    memory = BASE_MEMORY_BYTES + 30 * scale.parameters  # float32 copies of two models, and servers
    return Cost(2 + scale.forward_seconds(tokens), size * scale.parameters, memory, tokens)


def _check(recipe: Recipe) -> None:
    """Refuse a base on this machine whose trained model could not be exported. Raises AssetError."""
    if _starts_from_base(recipe) and recipe.model.base not in KNOWN:
        from tinsmith.stages.package.exportable import check_base

        check_base(recipe)


def _prefetch(recipe: Recipe) -> None:
    if _starts_from_base(recipe) and recipe.model.base not in KNOWN:
        from tinsmith.stages.package.exportable import fetch_base

        fetch_base(recipe)


def _starts_from_base(recipe: Recipe) -> bool:
    documents = bool(recipe.ingest.sources) and not recipe.model.scratch
    return documents or any(job.start == "base" for job in recipe.jobs)


STAGE = Stage(
    "package",
    version=8,
    purpose="exports and parity",
    estimate=_estimate,
    inputs=("split", "tokenize", "train", "examples", "learn"),
    check=_check,
    prefetch=_prefetch,
    nondeterministic=("parity.json", "items/parity.jsonl", "jobs/*/parity.json", "jobs/*/parity.jsonl"),
)
