"""The stage *report*: gather the bundle and draw its page."""

from __future__ import annotations

from tinsmith.meter.planner import BASE_MEMORY_BYTES, Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.stages.stage import Stage


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    # Hard links of what package wrote take no room.
    return Cost(2, 2e6, BASE_MEMORY_BYTES)


STAGE = Stage(
    "report",
    version=7,
    purpose="bundle and page",
    estimate=_estimate,
    inputs=(
        "ingest",
        "curate",
        "split",
        "refine",
        "tokenize",
        "train",
        "examples",
        "learn",
        "package",
        "evaluate",
    ),
    settings=Recipe,
    publishes=True,
    directory="bundle",
)
