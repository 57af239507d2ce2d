"""The stage *evaluate*: measure our model and others, on held-out documents and on the tests of jobs."""

from __future__ import annotations

from pathlib import Path

from tinsmith.base.files import write_json
from tinsmith.base.progress import Progress
from tinsmith.evaluate.bounds import refuse_outside
from tinsmith.evaluate.metrics import compute_metrics
from tinsmith.evaluate.models import scoring_precision
from tinsmith.evidence.family import FigureContext, Items
from tinsmith.evidence.schema import Metrics
from tinsmith.model.load import choose_device
from tinsmith.recipe import EvaluateConfig
from tinsmith.stages.evaluate import Settings
from tinsmith.stages.evaluate.documents import evaluate_documents
from tinsmith.stages.evaluate.jobs import evaluate_jobs
from tinsmith.stages.stage import Inputs


def evaluate(
    config: EvaluateConfig,
    *,
    settings: Settings,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
    may_leave: tuple[str, ...] = (),
) -> dict[str, float]:
    """Measure what the inputs allow, store every item, and write `metrics.json`, which is computed from items alone.

    Raises EvidenceError where a figure is out of bounds, and what its two parts raise.
    """
    parts = [
        measure(
            config,
            settings=settings,
            inputs=inputs,
            seed=seed,
            out=out,
            progress=progress,
            may_leave=may_leave,
        )
        for name, measure in (("refine", evaluate_documents), ("examples", evaluate_jobs))
        if name in inputs
    ]
    # A subject of both parts is described by the first.
    subjects = {row.subject: row for part in reversed(parts) for row in reversed(part.subjects)}
    subjects = dict(reversed(subjects.items()))
    package = inputs["package"]
    stored = Items(out / "items", package / "gguf", package / "items" / "parity.jsonl", tuple(subjects))
    context = FigureContext(stored, subjects, config, settings.meter, seed)
    metrics = compute_metrics(
        context,
        precision=scoring_precision(config.precision, choose_device(settings.train.device)),
        notes=[note for part in parts for note in part.notes],
        gaps=[gap for part in parts for gap in part.gaps],
    )
    write_json(out / "metrics.json", metrics.model_dump(mode="json", exclude_none=True))
    refuse_outside(metrics.bounds, config.bounds, where=str(out))
    return {name: value for part in parts for name, value in part.statistics.items()} | _figures(metrics)


def _figures(metrics: Metrics) -> dict[str, float]:
    """Return the figures that the manifest shows: bits per byte of each model, and what each job begins with."""
    headlines = {job.headline: job.job for job in metrics.jobs or ()}
    bits = {f"bits_per_byte_{r.subject}": r.value for r in metrics.metrics if r.metric == "bits_per_byte"}
    return bits | {
        f"{row.name}_{headlines[row.metric]}_{row.subject}": row.value
        for row in metrics.metrics
        if row.metric in headlines
    }
