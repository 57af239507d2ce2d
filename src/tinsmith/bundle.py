"""A finished bundle: check its hashes, compute its figures again, rebuild its report."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tinsmith.base.errors import BundleError
from tinsmith.base.files import JsonObject, list_files, read_json, sha256_file, sha256_json, write_json

MANIFEST = "manifest.json"
REBUILT = ("report.html", "evidence.json")
_PAGES = "pages/"  # rebuilt with the report
_MEND = "do not trust this bundle; take a whole copy, or remove the stages package, evaluate and bundle and build again"


class Verified(NamedTuple):
    """What was checked: files and their bytes, figures computed again, items scored again.

    `sentences` says whether the report's sentences were compared too; those of an earlier version are not.
    """

    files: int
    bytes: int
    figures: int
    items: int
    sentences: bool


def verify(bundle: Path, *, deep: bool = False) -> Verified:
    """Check every hash of a bundle and compute every figure again from the stored items.

    With `deep` its model is loaded and answers a sample of the multiple-choice questions again. Raises BundleError
    that names the first fault.
    """
    from tinsmith.evaluate.promised import check_promised
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
    metrics, items = bundle / "data" / "metrics.json", bundle / "items"
    recipe = parse_recipe(read_json(bundle / "recipe.json"), where=str(bundle / "recipe.json"))
    if not metrics.is_file():
        raise BundleError(
            "is missing, so no figure can be computed again",
            where=str(metrics),
            next_step="use a complete copy of the bundle, or build again",
        )
    precision = _precision(metrics, recipe.evaluate.precision)
    check_promised(bundle, recipe)
    figures = check_figures(metrics, items, recipe, gguf=bundle / "gguf")
    sentences = _check_evidence(bundle)
    again = 0
    if deep:
        from tinsmith.evaluate.rescore import rescore

        again = rescore(bundle / "model", items, precision=precision, device=recipe.train.device)
    return Verified(len(manifest["outputs"]), total, figures, again, sentences)


def _precision(metrics: Path, allowed: str) -> str:
    """Return the precision that the bundle was scored in. Raises BundleError unless its recipe allows that."""
    stored = read_json(metrics).get("precision", "float32")
    if stored not in ("float32", "bfloat16") or allowed not in ("auto", stored):
        raise BundleError(
            f"says it was scored in {stored}, its recipe in {allowed}",
            where=str(metrics),
            next_step="somebody changed it; do not trust this bundle",
        )
    return str(stored)


def _check_evidence(bundle: Path) -> bool:
    """Raise BundleError where evidence.json is not what the bundle's other files give.

    Return whether its sentences were compared as well: False where an earlier version wrote them.
    """
    from tinsmith.evaluate.families import families
    from tinsmith.report.compare import first_difference, is_current
    from tinsmith.report.evidence import build_evidence

    stored = read_json(bundle / "evidence.json")
    evidence = build_evidence(bundle, families(), by_interval=not is_current(stored))
    if (where := first_difference(stored, evidence)) is not None:
        raise BundleError(
            f"{where} is not what the files of the bundle give",
            where=str(bundle / "evidence.json"),
            next_step="rebuild it with: tinsmith report BUNDLE; if nobody knows who changed it, do not trust it",
        )
    return is_current(stored)


def _check_files(bundle: Path, manifest: JsonObject, *, skip: tuple[str, ...]) -> int:
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
    """Rebuild the report from the bundle alone and record its hash; return the page."""
    from tinsmith.evaluate.families import families
    from tinsmith.report.page import rebuild_report
    from tinsmith.stages import PURPOSES

    manifest = _read_manifest(bundle)
    _check_files(bundle, manifest, skip=REBUILT)
    rebuild_report(bundle, families(), PURPOSES)
    for name in [name for name in manifest["outputs"] if name.startswith(_PAGES)]:
        del manifest["outputs"][name]
    for name in [*REBUILT, *(str(page) for page in list_files(bundle) if str(page).startswith(_PAGES))]:
        path = bundle / name
        manifest["outputs"][name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    manifest["digest"] = _digest(manifest["outputs"])
    write_json(bundle / MANIFEST, manifest)
    return bundle / "report.html"


def _digest(outputs: JsonObject) -> str:
    return sha256_json({name: row["sha256"] for name, row in outputs.items()})


def _read_manifest(bundle: Path) -> JsonObject:
    path = bundle / MANIFEST
    if not path.is_file():
        raise BundleError(
            "is not a bundle: it has no manifest.json",
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
