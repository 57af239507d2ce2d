"""The stage *evaluate*: measure our model and others, on held-out documents and on the tests of jobs."""

from __future__ import annotations

from collections import defaultdict
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
from tinsmith.stages.evaluate.job_endpoints import Endpoints
from tinsmith.stages.evaluate.job_work import read_jobs
from tinsmith.stages.evaluate.jobs import evaluate_jobs
from tinsmith.stages.evaluate.measured import Measured
from tinsmith.stages.sent import write_sent
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

    `sent.json` says what endpoints on other machines received. Raises EvidenceError where a figure is out of bounds,
    CorpusError for a test of fewer than two groups or where no row of a job may be sent, and what its two parts raise.
    """
    parts: list[Measured] = []
    # Before any model is opened, so that rows that may not leave are refused at once.
    works = list(read_jobs(config, inputs, seed)) if "examples" in inputs else []
    documents = inputs["refine"] / "documents.parquet" if "refine" in inputs else None
    endpoints = Endpoints(config, works, may_leave, documents, out, progress)
    endpoints.check()
    if "refine" in inputs:
        parts.append(
            evaluate_documents(
                config,
                settings=settings,
                inputs=inputs,
                seed=seed,
                out=out,
                progress=progress,
                may_leave=may_leave,
            )
        )
        endpoints.spent.update(parts[0].spent)
    if works:
        parts.append(
            evaluate_jobs(
                config,
                works,
                endpoints,
                settings=settings,
                learnt=inputs["learn"],
                seed=seed,
                out=out,
                progress=progress,
            )
        )
    withheld: defaultdict[str, set[str]] = defaultdict(set)
    for where, names in (pair for part in parts for pair in part.withheld.items()):
        withheld[where] |= names
    write_sent(out, {where: len(names) for where, names in withheld.items()})
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
