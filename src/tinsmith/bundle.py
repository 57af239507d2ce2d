"""A finished bundle: check its hashes, compute its figures again, rebuild its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tinsmith.base.errors import BundleError
from tinsmith.base.files import list_files, read_json, sha256_file, sha256_json, write_json

MANIFEST = "manifest.json"
REBUILT = ("report.html", "evidence.json")
_PAGES = "pages/"  # made anew with the report
_MEND = "do not trust this bundle; take a whole copy, or remove the stages package, evaluate and bundle and build again"


class Verified(NamedTuple):
    """What was checked: files and their bytes, figures computed again, items scored again."""

    files: int
    bytes: int
    figures: int
    items: int


def verify(bundle: Path, *, deep: bool = False) -> Verified:
    """Check every hash of a bundle and compute every figure again from the stored items.

    With `deep` its model is loaded and answers a sample of the exam once more. Raises BundleError that names the
    first fault.
    """
    from tinsmith.evaluate.verify import check_figures
    from tinsmith.recipe.toml import parse_recipe

    manifest = _read_manifest(bundle)
    total = _check_files(bundle, manifest, skip=())
    extra = {str(name) for name in list_files(bundle)} - set(manifest["outputs"]) - {MANIFEST}
    if extra:
        raise BundleError(
            "does not belong to the bundle",
            where=str(bundle / min(extra)),
            next_step="remove it, or build again",
        )
    figures = 0
    metrics, items = bundle / "data" / "metrics.json", bundle / "items"
    if metrics.is_file():
        recipe = parse_recipe(read_json(bundle / "recipe.json"), where=str(bundle / "recipe.json"))
        figures = check_figures(metrics, items, recipe, gguf=bundle / "gguf")
    _check_evidence(bundle)
    again = 0
    if deep:
        from tinsmith.evaluate.rescore import rescore

        again = rescore(bundle / "model", items, precision=_precision(metrics, recipe.evaluate.precision))
    return Verified(len(manifest["outputs"]), total, figures, again)


def _precision(metrics: Path, asked: str) -> str:
    """Return in what the bundle says it was scored. Raises BundleError unless its recipe allows that."""
    told = read_json(metrics).get("precision", "float32")
    if told not in ("float32", "bfloat16") or asked not in ("auto", told):
        raise BundleError(
            f"says it was scored in {told}, its recipe in {asked}",
            where=str(metrics),
            next_step="somebody changed it; do not trust this bundle",
        )
    return str(told)


def _check_evidence(bundle: Path) -> None:
    """Raise BundleError where evidence.json is not what the bundle's other files give."""
    from tinsmith.report.evidence import build_evidence

    stored, given = read_json(bundle / "evidence.json"), json.loads(json.dumps(build_evidence(bundle)))
    if (where := _first_difference(stored, given)) is not None:
        raise BundleError(
            f"{where} is not what the files of the bundle give",
            where=str(bundle / "evidence.json"),
            next_step="make it anew with: tinsmith report BUNDLE; where nobody knows who changed it, do not trust it",
        )


def _first_difference(stored: Any, given: Any, where: str = "") -> str | None:
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in sorted({*stored, *given}):
            if key not in stored or key not in given:
                return f"{where}.{key}".lstrip(".")
            if (found := _first_difference(stored[key], given[key], f"{where}.{key}")) is not None:
                return found
        return None
    if isinstance(stored, list) and isinstance(given, list) and len(stored) == len(given):
        for place, (one, other) in enumerate(zip(stored, given, strict=True)):
            if (found := _first_difference(one, other, f"{where}[{place}]")) is not None:
                return found
        return None
    return None if stored == given else where.lstrip(".")


def _check_files(bundle: Path, manifest: dict[str, Any], *, skip: tuple[str, ...]) -> int:
    if _digest(manifest["outputs"]) != manifest["digest"]:
        raise BundleError(
            "lists hashes that do not add up to its digest", where=str(bundle / MANIFEST), next_step=_MEND
        )
    total = 0
    for name, row in manifest["outputs"].items():
        if name in skip or (skip and name.startswith(_PAGES)):
            continue
        path = bundle / name
        if not path.is_file():
            raise BundleError(
                "is missing", where=str(path), next_step="take a whole copy of the bundle, or build again"
            )
        if path.stat().st_size != row["bytes"] or sha256_file(path) != row["sha256"]:
            raise BundleError(
                f"was changed: its sha256 is not {row['sha256'][:16]}...",
                where=str(path),
                next_step=_MEND,
            )
        total += row["bytes"]
    return total


def rebuild(bundle: Path) -> Path:
    """Make the report anew from the bundle alone and note its hash; return the page."""
    from tinsmith.report.page import rebuild_report
    from tinsmith.stages import PURPOSES

    manifest = _read_manifest(bundle)
    _check_files(bundle, manifest, skip=REBUILT)
    rebuild_report(bundle, PURPOSES)
    for name in [name for name in manifest["outputs"] if name.startswith(_PAGES)]:
        del manifest["outputs"][name]
    for name in [*REBUILT, *(str(each) for each in list_files(bundle) if str(each).startswith(_PAGES))]:
        path = bundle / name
        manifest["outputs"][name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    manifest["digest"] = _digest(manifest["outputs"])
    write_json(bundle / MANIFEST, manifest)
    return bundle / "report.html"


def _digest(outputs: dict[str, Any]) -> str:
    return sha256_json({name: row["sha256"] for name, row in outputs.items()})


def _read_manifest(bundle: Path) -> dict[str, Any]:
    path = bundle / MANIFEST
    if not path.is_file():
        raise BundleError(
            "is no bundle: it has no manifest.json",
            where=str(bundle),
            next_step="name a directory `bundle` that tinsmith build made",
        )
    try:
        manifest = dict(read_json(path))
        manifest["outputs"], manifest["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"is damaged ({error})",
            where=str(path),
            next_step="take a whole copy of the bundle, or build again",
        ) from None
    return manifest
