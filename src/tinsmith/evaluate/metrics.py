"""Compute all figures of `metrics.json` from stored items: evaluate writes them, `tinsmith verify` compares."""

from __future__ import annotations

from collections.abc import Sequence

from tinsmith.evaluate.bounds import check_bounds
from tinsmith.evaluate.families import families
from tinsmith.evidence.bootstrap import holm
from tinsmith.evidence.family import FigureContext
from tinsmith.evidence.schema import Comparison, Formats, Gap, Generated, Metrics, Precision, Role


def compute_metrics(
    context: FigureContext, *, precision: Precision, notes: Sequence[str], gaps: Sequence[Gap]
) -> Metrics:
    """Return the figures of all families, differences adjusted for their number, and the recipe's bounds.

    To `gaps`, what could not be asked, those are added that the items show.

    Raises RecipeError for a bound on a figure that does not exist.
    """
    found = [family.figures(context) for family in families()]
    metrics = tuple(row for figures in found for row in figures.metrics)
    comparisons = [row for figures in found for row in figures.comparisons]
    ladder = next((figures.ladder for figures in found if figures.ladder), Formats())
    generated: Generated | None = next((figures.generated for figures in found if figures.generated), None)
    return Metrics(
        precision=precision,
        subjects=tuple(context.subjects.values()),
        metrics=metrics,
        comparisons=tuple(_adjust(comparisons, context)),
        notes=tuple(notes),
        ladder=ladder,
        bounds=check_bounds(context.config.bounds, (*metrics, *(generated.metrics if generated else ()))),
        generated=generated,
        jobs=tuple(job for figures in found for job in figures.jobs) or None,
        gaps=tuple(dict.fromkeys([*gaps, *(gap for figures in found for gap in figures.gaps)])),
    )


def _adjust(comparisons: Sequence[Comparison], context: FigureContext) -> list[Comparison]:
    """Add to each comparison between models its p-value adjusted for how many of them there are."""
    between = [row for row in comparisons if context.role(row.b) is not Role.BASELINE]
    adjusted = dict(zip(map(id, between), holm([row.p or 0.0 for row in between]), strict=True))
    return [
        row.model_copy(update={"p_holm": adjusted[id(row)]}) if id(row) in adjusted else row
        for row in comparisons
    ]
