"""The facts of a bundle for machines: one dictionary, from which the page is drawn and nothing is added."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json
from tinsmith.meter import carbon
from tinsmith.recipe import Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.report.answers import describe_answers
from tinsmith.report.bias import describe_conduct
from tinsmith.report.collect import read_if_there
from tinsmith.report.curation import read_curation
from tinsmith.report.general import describe_general
from tinsmith.report.ladder import describe_ladder
from tinsmith.report.leaks import describe_leakage
from tinsmith.report.training import describe_training
from tinsmith.report.verdict import judge, name_roles, not_proven

SHOWN_PAIRS = 20
MACHINE_FACTS = ("cpu", "cores", "virtual", "flags", "memory_bytes", "gpus", "system", "python")


def build_evidence(bundle: Path) -> dict[str, Any]:
    """Read a bundle's recipe, manifests and data into one JSON value. Raises BundleError without recipe."""
    recipe = _read_recipe(bundle)
    manifests = _read_manifests(bundle)
    measured = read_if_there(bundle / "data" / "metrics.json") or {}
    subjects = name_roles(measured.get("subjects", []), measured.get("metrics", []))
    evidence: dict[str, Any] = {
        "recipe": recipe.name,
        "title": recipe.report.title or recipe.name,
        "base": recipe.model.scratch or recipe.model.base,
        "fresh": recipe.model.scratch is not None,
        "teacher": recipe.train.distil.teacher if recipe.train.has_teacher else "",
        "tasks": [task.name for task in recipe.tasks],
        "rivals": list(recipe.evaluate.rivals),
        "confidence": recipe.evaluate.confidence,
        "subjects": subjects,
        "metrics": measured.get("metrics", []),
        "comparisons": measured.get("comparisons", []),
        "ladder": measured.get("ladder") or {"rows": [], "recommended": None},
        "bounds": measured.get("bounds", []),
        "notes": _as_list(measured.get("notes")),
        "stages": [_stage_row(manifest, recipe) for manifest in manifests],
        "totals": _totals(manifests, recipe),
        "grid": _grid(recipe),
        "yardsticks": _yardsticks(),
        "parity": read_if_there(bundle / "data" / "parity.json") or {},
        "gguf": _sizes(bundle / "gguf"),
        "funnel": read_if_there(bundle / "data" / "funnel.jsonl") or [],
        "curation": read_curation(bundle / "data" / "curation"),
        "files": read_if_there(bundle / "data" / "files.json") or {},
        "documents": read_if_there(bundle / "data" / "documents.json") or {},
        "overlap": read_if_there(bundle / "data" / "overlap.json") or {},
        "shared": _shared(bundle, recipe),
        "training": describe_training(bundle, recipe, manifests),
        "assets": _assets(manifests),
        "versions": _versions(manifests),
        "machines": _machines(manifests),
    }
    evidence["verdict"] = judge(evidence)
    evidence["conduct"] = describe_conduct(evidence["metrics"], evidence["verdict"]["subject"])
    evidence["recommendation"] = describe_ladder(evidence["ladder"])
    evidence["leakage"] = describe_leakage(evidence["metrics"], evidence["verdict"]["subject"])
    evidence["answers"] = describe_answers(measured)
    evidence["general"] = describe_general(evidence["verdict"]["duels"], evidence["verdict"]["subject"])
    evidence["not_proven"] = not_proven(evidence)
    return evidence


def _read_recipe(bundle: Path) -> Recipe:
    path = bundle / "recipe.json"
    if not path.is_file():
        raise BundleError(
            "is no bundle: it has no recipe.json",
            where=str(bundle),
            next_step="name a directory `bundle` that tinsmith build made",
        )
    return parse_recipe(read_json(path), where=str(path))


def _read_manifests(bundle: Path) -> list[dict[str, Any]]:
    """Return the manifests of the stages, each after those that it builds on."""
    manifests = {path.stem: read_json(path) for path in sorted((bundle / "manifests").glob("*.json"))}
    order = TopologicalSorter({name: manifest["inputs"] for name, manifest in manifests.items()})
    return [manifests[name] for name in order.static_order() if name in manifests]


def _stage_row(manifest: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    energy = manifest["energy"]
    row = {"stage": manifest["stage"], "seconds": manifest["seconds"], **energy}
    row |= {name: manifest.get(name) for name in ("peak_rss_bytes", "cpu_seconds", "attempts")}
    return row | _footprint(_joules(energy), manifest["seconds"], recipe)


def _joules(energy: dict[str, Any]) -> tuple[float, float, float]:
    return energy["joules_low"], energy["joules"], energy["joules_high"]


def _footprint(joules: tuple[float, float, float], seconds: float, recipe: Recipe) -> dict[str, Any]:
    return carbon.footprint(joules, seconds, **recipe.meter.model_dump()).to_dict()


def _totals(manifests: list[dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    joules = [_joules(manifest["energy"]) for manifest in manifests]
    low, central, high = (sum(column) for column in zip(*joules, strict=True)) if joules else (0.0, 0.0, 0.0)
    seconds = sum(manifest["seconds"] for manifest in manifests)
    return {
        "seconds": seconds,
        "joules_low": low,
        "joules": central,
        "joules_high": high,
        "methods": list(dict.fromkeys(manifest["energy"]["method"] for manifest in manifests)),
        "peak_rss_bytes": max((manifest.get("peak_rss_bytes") or 0 for manifest in manifests), default=0),
        **_footprint((low, central, high), seconds, recipe),
    }


def _grid(recipe: Recipe) -> dict[str, Any]:
    grid = carbon.grid(recipe.meter.country)
    return {
        "country": grid.country,
        "iso3": grid.iso3,
        "year": grid.year,
        "g_co2e_per_kwh": grid.g_co2e_per_kwh,
        "source": carbon.GRID_SOURCE,
        "pue": recipe.meter.pue,
        "price_per_kwh": recipe.meter.price_per_kwh,
        "machine_price_per_hour": recipe.meter.machine_price_per_hour,
        "currency": recipe.meter.currency,
        "embodied": carbon.EMBODIED,
    }


def _yardsticks() -> dict[str, Any]:
    accounts = [
        {"counts": what, "mwh": mwh, "t_co2e": t, "flights": carbon.flights(t)}
        for what, mwh, t in carbon.BLOOM_ACCOUNTS
    ]
    flight = {"t_co2e": carbon.FLIGHT_T_CO2E, "source": carbon.FLIGHT_SOURCE}
    return {"runs": [vars(row) for row in carbon.yardsticks()], "bloom": accounts, "flight": flight}


def _sizes(directory: Path) -> list[dict[str, Any]]:
    files = sorted(directory.glob("*.gguf"), key=lambda path: -path.stat().st_size)
    return [{"file": f"gguf/{path.name}", "bytes": path.stat().st_size} for path in files]


def _shared(bundle: Path, recipe: Recipe) -> dict[str, Any]:
    rows = read_if_there(bundle / "data" / "shared.jsonl") or []
    longest = sorted(rows, key=lambda row: (-row["words"], row["train_doc_id"], row["held_out_doc_id"]))
    facts = {"at_least_words": recipe.split.shared_run_words, "dropped": recipe.split.drop_shared}
    return {"pairs": len(rows), "longest": longest[:SHOWN_PAIRS], **facts}


def _assets(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for manifest in manifests:
        for asset in manifest.get("assets", []):
            row = found.setdefault(
                asset["sha256"], {k: v for k, v in asset.items() if k != "path"} | {"stages": []}
            )
            row["stages"].append(manifest["stage"])
    return list(found.values())


def _versions(manifests: list[dict[str, Any]]) -> dict[str, str]:
    """Name each package's version; where stages ran with different ones, all of them."""
    found: dict[str, list[str]] = {}
    for manifest in manifests:
        for package, version in manifest.get("versions", {}).items():
            seen = found.setdefault(package, [])
            seen += [version] * (version not in seen)
    return {package: ", ".join(versions) for package, versions in sorted(found.items())}


def _machines(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    machines: list[dict[str, Any]] = []
    for manifest in manifests:
        # Free memory and disk change by the minute; what is left names the machine.
        facts = {name: manifest.get("machine", {}).get(name) for name in MACHINE_FACTS}
        same = next((m for m in machines if {k: v for k, v in m.items() if k != "stages"} == facts), None)
        if same:
            same["stages"].append(manifest["stage"])
        elif any(value is not None for value in facts.values()):
            machines.append({**facts, "stages": [manifest["stage"]]})
    return machines


def _as_list(notes: Any) -> list[str]:
    if not notes:
        return []
    return [str(note) for note in notes] if isinstance(notes, list) else [str(notes)]
