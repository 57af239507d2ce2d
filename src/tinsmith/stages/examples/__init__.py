"""The stage *examples*: read the examples of each job, and divide them into learnt, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import sha256_file
from tinsmith.jobs.size import BYTES_PER_TOKEN, job_size
from tinsmith.meter.planner import BASE_MEMORY_BYTES, Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.stages.stage import Stage, of_recipe


@dataclass(frozen=True)
class Settings:
    """What the stage reads beside its own section."""

    base: str = of_recipe("model.base")


# Of each row: it is rendered, judged, divided, counted in tokens where it is long, and written.
SECONDS_PER_ROW, COPIES = 5e-4, 2.5
# Of documents that are examples, a byte: their tokens are counted, and the encodings of many are in memory at once.
_SECONDS_PER_BYTE, _MEMORY_PER_BYTE = 7e-7, 100.0


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    sizes = [size for job in recipe.jobs if (size := job_size(job))]
    rows = sum(size.learnt + size.asked for size in sizes)
    read = sum((size.learnt + size.asked) * size.tokens * BYTES_PER_TOKEN for size in sizes)
    documents = scale.corpus_bytes * sum(not job.examples for job in recipe.jobs)
    seconds = 2 + SECONDS_PER_ROW * rows + _SECONDS_PER_BYTE * documents
    # All rows are in memory at once.
    memory = BASE_MEMORY_BYTES + 4 * COPIES * read + _MEMORY_PER_BYTE * documents
    return Cost(seconds, 1e5 + COPIES * (read + documents), memory)


def _file_stamps(recipe: Recipe) -> list[str] | None:
    """Return the hash of each file of examples, and of each schema."""
    names = [name for job in recipe.jobs for name in (*job.examples, *job.test, job.json_schema)]
    return [
        f"{name}:{sha256_file(Path(name).expanduser())}" for name in names if isinstance(name, str) and name
    ] or None


def _check(recipe: Recipe) -> None:
    """Refuse templates and schemas that cannot be read, and files that are not there. Raises RecipeError."""
    from tinsmith.jobs.rendering import Rendering

    for job in recipe.jobs:
        Rendering(job)
        for field in ("examples", "test"):
            for name in getattr(job, field):
                if not Path(name).expanduser().is_file():
                    raise RecipeError(
                        f"{name}: no such file",
                        where=f"jobs.{job.name}.{field}",
                        next_step="name a CSV, JSON Lines, JSON or Parquet file, from the working directory",
                    )


def _uses(recipe: Recipe, name: str) -> bool:
    """Documents are read only for a job without files of its own, their tokenizer for one that starts from them."""
    if name == "tokenize":
        return any(job.start == "documents" for job in recipe.jobs)
    return any(not job.examples for job in recipe.jobs)


def _models(recipe: Recipe) -> tuple[str, ...]:
    """Return the base, whose tokenizer says which inputs are too long."""
    return (recipe.model.base,) if any(job.start == "base" for job in recipe.jobs) else ()


STAGE = Stage(
    "examples",
    version=3,
    purpose="examples of jobs",
    estimate=_estimate,
    inputs=("refine", "tokenize"),
    uses=_uses,
    settings=Settings,
    models=_models,
    files=_file_stamps,
    check=_check,
    section="jobs",
)
