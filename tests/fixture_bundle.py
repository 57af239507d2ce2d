"""A whole bundle as version 2026-11 wrote it, unpacked for tests that change it, and how a forger would hide that."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tinsmith.base.files import list_files, read_json, sha256_file, sha256_json, write_json
from tinsmith.evaluate.families import families
from tinsmith.evaluate.metrics import compute_metrics
from tinsmith.evaluate.verify import check_figures
from tinsmith.evidence.family import FigureContext, Items, read_metrics
from tinsmith.recipe import Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.report.evidence import build_evidence

ARCHIVE = Path(__file__).parent / "fixtures" / "bundle-2026-11.tar.xz"


def unpack(folder: Path) -> Path:
    """Unpack the bundle below `folder` and return its directory."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "bundle"


def recipe_of(bundle: Path) -> Recipe:
    """Return the recipe of a bundle."""
    return parse_recipe(read_json(bundle / "recipe.json"), where="recipe.json")


def check(bundle: Path) -> int:
    """Compute its figures again from its items, as `tinsmith verify` does; return how many numbers agree."""
    return check_figures(
        bundle / "data" / "metrics.json", bundle / "items", recipe_of(bundle), gguf=bundle / "gguf"
    )


def make_consistent(bundle: Path) -> None:
    """Compute figures, evidence and hashes again from what a bundle now holds, with the library's own functions."""
    path, recipe = bundle / "data" / "metrics.json", recipe_of(bundle)
    if path.is_file():
        stored = read_metrics(path, families())
        subjects = {subject.subject: subject for subject in stored.subjects}
        items = Items(bundle / "items", bundle / "gguf", bundle / "items" / "parity.jsonl", tuple(subjects))
        context = FigureContext(items, subjects, recipe.evaluate, recipe.meter, recipe.seed)
        metrics = compute_metrics(
            context, precision=stored.precision, notes=stored.notes, gaps=stored.gaps or ()
        )
        write_json(path, metrics.model_dump(mode="json", exclude_none=True))
    write_json(bundle / "evidence.json", build_evidence(bundle, families()).to_json())
    write_hashes(bundle)


def write_hashes(bundle: Path) -> None:
    """Write a manifest whose hashes are those of the files that are there."""
    names = [str(name) for name in list_files(bundle) if str(name) != "manifest.json"]
    outputs = {
        name: {"sha256": sha256_file(bundle / name), "bytes": (bundle / name).stat().st_size}
        for name in names
    }
    digest = sha256_json({name: row["sha256"] for name, row in outputs.items()})
    write_json(
        bundle / "manifest.json", read_json(bundle / "manifest.json") | {"outputs": outputs, "digest": digest}
    )
