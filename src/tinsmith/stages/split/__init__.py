"""The stage *split*: hold documents out before anything is learnt."""

from __future__ import annotations

from tinsmith.meter.planner import BASE_MEMORY_BYTES, COMPRESSED, CURATE_BYTES_PER_SECOND, Cost, Scale
from tinsmith.recipe import Recipe
from tinsmith.stages.stage import Stage


def _estimate(recipe: Recipe, scale: Scale) -> Cost:
    corpus = scale.corpus_bytes
    return Cost(2 + corpus / CURATE_BYTES_PER_SECOND, corpus * COMPRESSED, BASE_MEMORY_BYTES + 10 * corpus)


STAGE = Stage(
    "split", version=1, purpose="held-out documents put aside", estimate=_estimate, inputs=("curate",)
)
