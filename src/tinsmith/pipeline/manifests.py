"""The manifest of a finished stage: what it read and wrote, what that cost, on which machine and versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import time
from pathlib import Path
from typing import Any

from tinsmith.base import assets
from tinsmith.base.cache import recorded_sha256
from tinsmith.base.errors import RunError
from tinsmith.base.files import list_files, read_json, sha256_file, sha256_json
from tinsmith.meter.energy import Reading
from tinsmith.meter.machine import describe_machine
from tinsmith.recipe import Recipe
from tinsmith.stages import Stage

MANIFEST = "manifest.json"
KEY, METER = ".key.json", ".meter.json"  # only in the directory of an unfinished stage


def make_manifest(
    stage: Stage,
    recipe: Recipe,
    root: Path,
    key: str,
    partial: Path,
    statistics: dict[str, float],
    reading: Reading,
    attempts: int,
) -> dict[str, Any]:
    """Return the manifest of what a stage has written into `partial`, with hashes."""
    hidden = {KEY, METER}
    names = [name for name in list_files(partial) if str(name) not in hidden]
    outputs = {
        str(name): {"sha256": sha256_file(partial / name), "bytes": (partial / name).stat().st_size}
        for name in names
    }
    energy = reading.to_dict()
    return {
        "stage": stage.name,
        "version": stage.version,
        "key": key,
        "config": stage.configuration(recipe),
        "seed": recipe.seed,
        "inputs": {name: manifest_of(root, name)["digest"] for name in stage.reads(recipe)},
        "outputs": outputs,
        "digest": sha256_json(
            {name: row["sha256"] for name, row in outputs.items() if not stage.is_nondeterministic(name)}
        ),
        "statistics": statistics,
        "seconds": reading.seconds,
        "energy": {k: energy[k] for k in ("joules_low", "joules", "joules_high", "method")},
        "peak_rss_bytes": reading.peak_rss_bytes,
        "cpu_seconds": reading.cpu_seconds,
        "attempts": attempts,
        "versions": _versions(),
        "machine": describe_machine(),
        "assets": [asset.describe() for asset in _assets_used(stage, recipe)],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _assets_used(stage: Stage, recipe: Recipe) -> list[assets.Asset]:
    corpora = [assets.fetch(name) for name in stage.corpora(recipe)]
    return corpora + [assets.resolve_model(name) for name in stage.models(recipe)]


def _versions() -> dict[str, str]:
    names = (
        "tinsmith",
        "torch",
        "transformers",
        "tokenizers",
        "daft",
        "kreuzberg",
        "gguf",
        "libgguf",
        "xllamacpp",
    )
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """Return a stage's manifest, or None if the stage is not finished. Raises RunError for a damaged one."""
    path = directory / MANIFEST
    if not path.exists():
        return None
    try:
        return dict(read_json(path))
    except ValueError as error:
        raise RunError(
            f"is damaged ({error})", where=str(path), next_step=f"remove {directory} and build again"
        ) from None


def manifest_of(root: Path, name: str) -> dict[str, Any]:
    """Return the manifest of a stage that must be finished. Raises RunError if it is not."""
    manifest = read_manifest(root / name)
    if manifest is None:
        raise RunError(
            "this stage is not finished",
            where=str(root / name),
            next_step=f"run: tinsmith build RECIPE --until {name}",
        )
    return manifest


def changed_output(directory: Path, manifest: dict[str, Any]) -> str | None:
    """Return the first output that is missing or is not what its stage wrote, by hash; None if all are."""
    for name, row in manifest["outputs"].items():
        path = directory / name
        if not path.is_file() or path.stat().st_size != row["bytes"]:
            return str(name)
        if recorded_sha256(path) != row["sha256"]:
            return str(name)
    return None
