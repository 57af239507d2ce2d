"""A finished bundle: check its hashes, compute its figures again, rebuild its report."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tinsmith.base.errors import AssetError, BundleError, ParityError, RecipeError
from tinsmith.base.files import JsonObject, list_files, read_json, sha256_file, sha256_json, write_json
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.families import families
from tinsmith.evidence.family import Items, read_metrics
from tinsmith.evidence.schema import Precision
from tinsmith.recipe import Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.report.trust import on_trust

if TYPE_CHECKING:
    from tinsmith.evaluate.rescore import Rescored

MANIFEST = "manifest.json"
REBUILT = ("report.html", "evidence.json")
_PAGES = "pages/"  # rebuilt with the report
_MEND = "do not trust this bundle; take a whole copy, or remove the stages package, evaluate and bundle and build again"


class Verified(NamedTuple):
    """What was checked: files and their bytes, figures computed again, and what models scored again.

    `sentences` says whether the report's sentences were compared too; those of an earlier version are not. `trust`
    names what nothing in the bundle can prove.
    """

    files: int
    bytes: int
    figures: int
    sentences: bool
    trust: tuple[str, ...]
    again: Rescored | None


def verify(bundle: Path, *, deep: bool = False) -> Verified:
    """Check every hash of a bundle, that it holds what its recipe names, and every figure that its items give.

    With `deep` its models score a fresh sample of the texts and questions again, and the parity gate compares each GGUF
    file with the safetensors. Raises BundleError that names the first fault.
    """
    manifest = _read_manifest(bundle)
    total = _check_files(bundle, manifest, skip=())
    extra = {str(name) for name in list_files(bundle)} - set(manifest["outputs"]) - {MANIFEST}
    if extra:
        raise BundleError(
            "does not belong to the bundle",
            where=str(bundle / min(extra)),
            next_step="remove it, or build again",
        )
    recipe = parse_recipe(read_json(bundle / "recipe.json"), where=str(bundle / "recipe.json"))
    try:
        figures, left_out = _check_figures(bundle, recipe)
        sentences = _check_evidence(bundle)
        again = _ask_again(bundle, recipe) if deep else None
    except (AssetError, ParityError, RecipeError) as error:
        # What is broken here is the bundle, whatever the part that found it is for.
        raise BundleError(error.what, where=error.where or str(bundle), next_step=_MEND) from error
    trust = [*on_trust(manifest["outputs"], families(), deep=deep)]
    if not sentences:
        trust.append("evidence.json: its sentences, which an earlier version worded otherwise")
    if left_out:
        trust.append(
            f"items/bits-*: that a tokenizer does not restore {left_out} drawn document(s), left out"
        )
    return Verified(len(manifest["outputs"]), total, figures, sentences, tuple(trust), again)


def _check_figures(bundle: Path, recipe: Recipe) -> tuple[int, int]:
    """Return how many figures the items and files give again, and how many drawn documents were left out.

    Raises BundleError for the first figure that differs.
    """
    from tinsmith.evaluate.promised import check_promised
    from tinsmith.evaluate.verify import check_figures
    from tinsmith.parity import recompute

    metrics = bundle / "data" / "metrics.json"
    if not metrics.is_file():
        raise BundleError(
            "is missing, so no figure can be computed again",
            where=str(metrics),
            next_step="use a complete copy of the bundle, or build again",
        )
    _precision(metrics, recipe.evaluate.precision)
    left_out = check_promised(bundle, recipe)
    parity = 0
    if recipe.ingest.sources:
        exported = bundle / "data" / "parity.json", bundle / "items" / "parity.jsonl"
        parity += recompute.check_figures(bundle, *exported, recipe.package, of_job=False)
    for job in (bundle / "jobs" / config.name for config in recipe.jobs):
        exported = job / "parity.json", job / "parity.jsonl"
        parity += recompute.check_figures(job, *exported, recipe.package, of_job=True)
    return parity + check_figures(metrics, bundle / "items", recipe, gguf=bundle / "gguf"), left_out


def _ask_again(bundle: Path, recipe: Recipe) -> Rescored:
    """Let the bundle's models answer a sample again: the general model, and the file of each job."""
    from tinsmith.evaluate.rescore import Rescored
    from tinsmith.evaluate.rescore_jobs import rescore_jobs

    stored = read_metrics(bundle / "data" / "metrics.json", families())
    names = tuple(subject.subject for subject in stored.subjects)
    items = Items(bundle / "items", bundle / "gguf", bundle / "items" / "parity.jsonl", names)
    found = [_score_again(bundle, recipe, items, stored.precision)] if recipe.ingest.sources else []
    found += [rescore_jobs(items)] if recipe.jobs else []
    subjects = dict.fromkeys(subject for part in found for subject in part.subjects)
    return Rescored(sum(part.scores for part in found), tuple(subjects), found[0].device)


def _score_again(bundle: Path, recipe: Recipe, items: Items, precision: Precision) -> Rescored:
    """Let the model and its files score a sample again, then compare every GGUF file with the model."""
    from tinsmith.evaluate.rescore import rescore
    from tinsmith.parity.gate import check_parity

    again = rescore(
        bundle, items, window=recipe.evaluate.window, precision=precision, device=recipe.train.device
    )
    formats: tuple[str, ...] = recipe.package.formats
    ggufs = {format: bundle / "gguf" / f"model-{format}.gguf" for format in formats}
    # Earlier versions did not store the texts; what was read before questions is text of the same documents.
    texts = list(items.texts.values()) or [item.text for item in items.questions.values()]
    seed = secrets.randbelow(2**31)  # so that nobody can prepare for the prompts
    model = bundle / "model"
    check_parity(model, model, ggufs, texts, recipe.package, SilentProgress(), seed=seed)
    return again


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
    from tinsmith.report.compare import decided_by_interval, first_difference, is_current
    from tinsmith.report.evidence import build_evidence

    stored = read_json(bundle / "evidence.json")
    evidence = build_evidence(bundle, families(), by_interval=decided_by_interval(stored))
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
