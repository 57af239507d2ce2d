"""The stage *ingest*: read every document that the recipe names."""

from __future__ import annotations

from tinsmith.base import assets
from tinsmith.corpus.readers.sources import find_files
from tinsmith.meter.planner import BASE_MEMORY_BYTES, COMPRESSED, Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.stages.sources import look_at
from tinsmith.stages.stage import Stage

READ_BYTES_PER_SECOND = 2e6


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    corpus = scale.corpus_bytes
    return Cost(0.5 + corpus / READ_BYTES_PER_SECOND, corpus * COMPRESSED, BASE_MEMORY_BYTES + 3 * corpus)


def _corpora(recipe: Recipe) -> tuple[str, ...]:
    return tuple(name for name in recipe.ingest.sources if assets.is_corpus(name))


def _file_stamps(recipe: Recipe) -> list[str]:
    """Return the identity of each named corpus, and path, size and time of each file of the user's own."""
    config, named = recipe.ingest, _corpora(recipe)
    others = tuple(name for name in config.sources if name not in named)
    paths = [file.path for file in find_files(others, config.exclude).files] if others else []
    statuses = [(path, look_at(path)) for path in paths]
    return [
        *(assets.identify(name) for name in named),
        *(f"{path}:{status.st_size}:{status.st_mtime_ns}" for path, status in statuses),
    ]


STAGE = Stage(
    "ingest",
    version=5,
    purpose="files to text",
    estimate=_estimate,
    corpora=_corpora,
    files=_file_stamps,
    seeded=False,
    honours_erasure=True,
    nondeterministic=("files.jsonl",),
)
