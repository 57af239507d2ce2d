"""Build the evidence of a bundle: what `evidence.json` holds, and all that the page says."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq
from pydantic import ValidationError

from tinsmith.base.errors import BundleError
from tinsmith.base.files import JsonObject, read_json, read_jsonl
from tinsmith.evidence.family import Family, Results, read_metrics, require_subjects
from tinsmith.evidence.outcome import NOT_SHOWN
from tinsmith.evidence.schema import Finding, Metrics, Record
from tinsmith.meter import carbon
from tinsmith.recipe import Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.report.curation import read_curation
from tinsmith.report.front import first_screen
from tinsmith.report.jobs import read_jobs
from tinsmith.report.schema import (
    Documents,
    Evidence,
    ExportFile,
    Files,
    Grid,
    Machine,
    Overlap,
    OverlapBin,
    Shared,
    SharedRun,
    StageCost,
    TotalCost,
    UsedAsset,
    Verdict,
    Yardsticks,
)
from tinsmith.report.sent import read_sent
from tinsmith.report.training import describe_training
from tinsmith.report.verdict import judge, not_proven

_SHOWN_PAIRS = 20
_OVERLAP_EDGES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
_Part = TypeVar("_Part", bound=Record)


def build_evidence(bundle: Path, families: Sequence[Family], *, by_interval: bool = False) -> Evidence:
    """Read a bundle's recipe, manifests and data; `by_interval` decides as earlier versions did.

    Raises BundleError without a recipe, and for data out of shape.
    """
    recipe = _read_recipe(bundle)
    try:
        evidence = _build(bundle, recipe, families, by_interval)
    except ValidationError as error:
        place, reason = (line.strip() for line in str(error).splitlines()[1:3])
        raise BundleError(
            f"its data do not match the expected structure of {error.title}: {place}: {reason}",
            where=str(bundle),
            next_step="use a complete copy of the bundle, or build again",
        ) from None
    told = {"not_proven": not_proven(evidence, families), "first": first_screen(evidence)}
    return evidence.model_copy(update=told)


def _build(bundle: Path, recipe: Recipe, families: Sequence[Family], by_interval: bool) -> Evidence:
    data, manifests = bundle / "data", _read_manifests(bundle)
    path = data / "metrics.json"
    metrics = read_metrics(path, families) if path.is_file() else Metrics()
    require_subjects(metrics, path)
    verdict = judge(metrics, recipe.evaluate.confidence, by_interval=by_interval)
    statistics = {manifest["stage"]: manifest.get("statistics") or {} for manifest in manifests}
    return Evidence(
        **{name: getattr(metrics, name) for name in Metrics.model_fields},
        recipe=recipe.name,
        title=recipe.report.title or recipe.name,
        base=recipe.model.scratch or recipe.model.base,
        fresh=recipe.model.scratch is not None,
        teacher=recipe.train.distil.teacher if recipe.train.has_teacher else "",
        tasks=tuple(task.name for task in recipe.tasks),
        rivals=recipe.evaluate.rivals,
        confidence=recipe.evaluate.confidence,
        stages=tuple(_stage_cost(manifest, recipe) for manifest in manifests),
        totals=_total_cost(manifests, recipe),
        grid=_grid(recipe),
        yardsticks=_yardsticks(),
        parity=read_json(data / "parity.json") if (data / "parity.json").is_file() else {},
        gguf=_exports(bundle / "gguf"),
        funnel=tuple(_rows(data / "funnel.jsonl")),
        curation=read_curation(data / "curation"),
        files=_read(data / "files.json", Files),
        documents=_read(data / "documents.json", Documents),
        sent=read_sent(data / "sent", has_documents=bool(recipe.ingest.sources)),
        overlap=_overlap(data),
        shared=_shared(data / "shared.jsonl", recipe),
        training=describe_training(data, recipe, statistics),
        assets=_assets(manifests),
        versions=_versions(manifests),
        machines=_machines(manifests),
        has_documents=bool(recipe.ingest.sources),
        job_files=read_jobs(bundle, recipe, statistics),
        verdict=verdict,
        findings=_findings(metrics, verdict, families, recipe.evaluate.confidence),
    )


def _findings(
    metrics: Metrics, verdict: Verdict, families: Sequence[Family], confidence: float
) -> dict[str, tuple[Finding, ...]]:
    """Return the findings of all families by section, each with whether it stands at the top of the page.

    What could not be measured is a finding too, so that nobody takes silence for a good result.
    """
    results = Results(metrics, verdict.subject, verdict.duels, confidence)
    found: dict[str, tuple[Finding, ...]] = {}
    for family in families:
        gaps = [gap for gap in metrics.gaps or () if gap.kind == family.kind]
        said = [
            *family.findings(results),
            *(Finding(verdict=gap.what, text=gap.reason, outcome=NOT_SHOWN) for gap in gaps),
        ]
        if said:
            shown = (
                finding.model_copy(update={"front": finding.outcome in (*family.front, NOT_SHOWN)})
                for finding in said
            )
            found[family.section.name] = (*found.get(family.section.name, ()), *shown)
    return found


def _read_recipe(bundle: Path) -> Recipe:
    path = bundle / "recipe.json"
    if not path.is_file():
        raise BundleError(
            "is not a bundle: it has no recipe.json",
            where=str(bundle),
            next_step="name a directory `bundle` that tinsmith build made",
        )
    return parse_recipe(read_json(path), where=str(path))


def _read_manifests(bundle: Path) -> list[JsonObject]:
    """Return the manifests of the stages, each after those that it builds on."""
    manifests = {path.stem: read_json(path) for path in sorted((bundle / "manifests").glob("*.json"))}
    order = TopologicalSorter({name: manifest["inputs"] for name, manifest in manifests.items()})
    return [manifests[name] for name in order.static_order() if name in manifests]


def _read(path: Path, record: type[_Part]) -> _Part | None:
    """Return what a file of the stage report holds; None where a stage did not leave what it summarises."""
    return record.model_validate(read_json(path)) if path.is_file() else None


def _rows(path: Path) -> list[JsonObject]:
    return list(read_jsonl(path)) if path.is_file() else []


def _stage_cost(manifest: JsonObject, recipe: Recipe) -> StageCost:
    known = {name: manifest.get(name) for name in ("peak_rss_bytes", "cpu_seconds", "attempts")}
    named = {"stage": manifest["stage"], "seconds": manifest["seconds"], **manifest["energy"], **known}
    return StageCost(**named, **_footprint(_joules(manifest), manifest["seconds"], recipe))


def _joules(manifest: JsonObject) -> tuple[float, float, float]:
    energy = manifest["energy"]
    return energy["joules_low"], energy["joules"], energy["joules_high"]


def _footprint(joules: tuple[float, float, float], seconds: float, recipe: Recipe) -> JsonObject:
    return carbon.footprint(joules, seconds, **recipe.meter.model_dump()).to_dict()


def _total_cost(manifests: Sequence[JsonObject], recipe: Recipe) -> TotalCost:
    low, central, high = (
        sum(column) for column in zip((0.0, 0.0, 0.0), *map(_joules, manifests), strict=True)
    )
    seconds = sum(manifest["seconds"] for manifest in manifests)
    return TotalCost(
        seconds=seconds,
        joules_low=low,
        joules=central,
        joules_high=high,
        methods=tuple(dict.fromkeys(manifest["energy"]["method"] for manifest in manifests)),
        peak_rss_bytes=max((manifest.get("peak_rss_bytes") or 0 for manifest in manifests), default=0),
        **_footprint((low, central, high), seconds, recipe),
    )


def _grid(recipe: Recipe) -> Grid:
    meter = recipe.meter
    return Grid(
        **asdict(carbon.grid(meter.country)),
        source=carbon.GRID_SOURCE,
        pue=meter.pue,
        price_per_kwh=meter.price_per_kwh,
        machine_price_per_hour=meter.machine_price_per_hour,
        currency=meter.currency,
        embodied=carbon.EMBODIED,
    )


def _yardsticks() -> Yardsticks:
    accounts = tuple(
        {"counts": counted, "mwh": mwh, "t_co2e": tonnes, "flights": carbon.flights(tonnes)}
        for counted, mwh, tonnes in carbon.BLOOM_ACCOUNTS
    )
    flight = {"t_co2e": carbon.FLIGHT_T_CO2E, "source": carbon.FLIGHT_SOURCE}
    return Yardsticks(runs=carbon.yardsticks(), bloom=accounts, flight=flight)


def _exports(directory: Path) -> tuple[ExportFile, ...]:
    files = sorted(directory.glob("*.gguf"), key=lambda path: -path.stat().st_size)
    return tuple(ExportFile(file=f"gguf/{path.name}", bytes=path.stat().st_size) for path in files)


def _overlap(data: Path) -> Overlap | None:
    """Return how the held-out documents overlap with training text; earlier versions stored the summary alone."""
    path = data / "overlap.parquet"
    if not path.is_file():
        return _read(data / "overlap.json", Overlap)
    shares = [float(value) for value in pq.read_table(path, columns=["overlap"])["overlap"].to_pylist()]
    ordered = sorted(shares)
    bins = []
    for low, high in itertools.pairwise(_OVERLAP_EDGES):
        inside = sum(low <= share < high or (share == high == 1.0) for share in shares)
        bins.append(OverlapBin(low=low, high=high, documents=inside))
    return Overlap(
        documents=len(shares),
        mean=sum(shares) / len(shares) if shares else 0.0,
        median=ordered[len(ordered) // 2] if ordered else 0.0,
        highest=ordered[-1] if ordered else 0.0,
        bins=tuple(bins),
    )


def _shared(path: Path, recipe: Recipe) -> Shared:
    runs = [SharedRun.model_validate(row) for row in _rows(path)]
    runs.sort(key=lambda run: (-run.words, run.train_doc_id, run.held_out_doc_id))
    return Shared(
        pairs=len(runs),
        longest=tuple(runs[:_SHOWN_PAIRS]),
        at_least_words=recipe.split.shared_run_words,
        dropped=recipe.split.drop_shared,
    )


def _assets(manifests: Sequence[JsonObject]) -> tuple[UsedAsset, ...]:
    """Return each asset once, with the stages that used it."""
    assets: dict[str, JsonObject] = {}
    stages: dict[str, list[str]] = {}
    for manifest in manifests:
        for asset in manifest.get("assets", []):
            assets.setdefault(asset["sha256"], asset)
            stages.setdefault(asset["sha256"], []).append(manifest["stage"])
    return tuple(UsedAsset(**assets[sha256] | {"stages": names}) for sha256, names in stages.items())


def _versions(manifests: Sequence[JsonObject]) -> dict[str, str]:
    """Return each package's version; where stages ran with different ones, all of them."""
    found: dict[str, dict[str, None]] = {}
    for manifest in manifests:
        for package, version in manifest.get("versions", {}).items():
            found.setdefault(package, {})[version] = None
    return {package: ", ".join(versions) for package, versions in sorted(found.items())}


def _machines(manifests: Sequence[JsonObject]) -> tuple[Machine, ...]:
    """Return each machine once, with the stages that ran on it.

    Free memory and disk, which change by the minute, are not fields of a machine.
    """
    stages: list[tuple[Machine, list[str]]] = []
    for manifest in manifests:
        machine = Machine.model_validate(manifest.get("machine", {}))
        same = next((names for known, names in stages if known == machine), None)
        if same is not None:
            same.append(manifest["stage"])
        elif machine != Machine():
            stages.append((machine, [manifest["stage"]]))
    return tuple(machine.model_copy(update={"stages": tuple(names)}) for machine, names in stages)
