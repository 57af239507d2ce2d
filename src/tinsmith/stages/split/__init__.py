"""The stage *split*: hold documents out before anything is learnt."""

from __future__ import annotations

from tinsmith.meter.planner import BASE_MEMORY_BYTES, COMPRESSED, Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.stages.stage import Stage

SPLIT_BYTES_PER_SECOND = 6e6


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    corpus = scale.corpus_bytes
    seconds = 0.3 + corpus / SPLIT_BYTES_PER_SECOND
    return Cost(seconds, corpus * COMPRESSED, BASE_MEMORY_BYTES + 10 * corpus)


STAGE = Stage(
    "split", version=1, purpose="held-out documents put aside", estimate=_estimate, inputs=("curate",)
)
