"""Which stages are cached and which would run, and why: the cache key of a stage covers all that it reads."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base import assets
from tinsmith.base.erasure import read_forgotten
from tinsmith.base.errors import RecipeError
from tinsmith.base.files import read_json, sha256_file, sha256_json
from tinsmith.pipeline.manifests import KEY, MANIFEST, changed_output, manifest_of, read_manifest
from tinsmith.recipe import Recipe
from tinsmith.recipe.renamed import RENAMED
from tinsmith.recipe.unread import refuse_unread
from tinsmith.stages import PURPOSES, Stage, stages_for


@dataclass(frozen=True)
class Step:
    """What a build would do with one stage, and why."""

    stage: Stage
    cached: bool
    why: str


def plan(recipe: Recipe, until: str | None = None) -> list[Step]:
    """Return for each stage whether it is cached or would run, and why. Changes nothing. Raises TinsmithError."""
    check_recipe(recipe)
    root, steps, stale = run_directory(recipe), [], False
    for stage in stages_until(recipe, until):
        if stale:
            steps.append(Step(stage, False, "an earlier stage runs"))
            continue
        key = stage_key(stage, recipe, root)
        cached, changed = find_cached(stage, root, key)
        stale = not cached
        why = "nothing changed" if cached else changed or _reason(stage, recipe, root, key)
        steps.append(Step(stage, cached, why))
    return steps


def run_directory(recipe: Recipe) -> Path:
    """Return the directory of a recipe's stages."""
    return Path(recipe.runs).expanduser() / recipe.name


def check_recipe(recipe: Recipe) -> None:
    """Refuse what can be refused before any document is read, unread settings included. Raises TinsmithError."""
    refuse_unread(recipe, where=f"recipe {recipe.name}")
    for stage in stages_for(recipe):
        for outbound in stage.asks(recipe):
            outbound.check(recipe.may_leave)
        stage.check(recipe)


def stages_until(recipe: Recipe, until: str | None) -> tuple[Stage, ...]:
    """Return the stages that a recipe needs, up to the one named, or all. Raises RecipeError for an unknown name."""
    stages = stages_for(recipe)
    names = [stage.name for stage in stages]
    if until is None:
        return stages
    if until not in names:
        what = f"this recipe has no stage {until!r}" if until in PURPOSES else f"unknown stage {until!r}"
        raise RecipeError(what, where="--until", next_step=f"use one of {', '.join(names)}")
    return stages[: names.index(until) + 1]


def stage_key(stage: Stage, recipe: Recipe, root: Path) -> str:
    """Hash all that a stage's outputs depend on: version, configuration, assets, inputs."""
    parts = {
        "stage": stage.name,
        "version": stage.version,
        "config": stage.configuration(recipe),
        "seed": recipe.seed if stage.seeded else None,
        "models": {name: assets.identify(name) for name in stage.models(recipe)},
        "sources": stage.files(recipe),
        "inputs": {name: manifest_of(root, name)["digest"] for name in stage.reads(recipe)},
    }
    forgotten = read_forgotten(root).fingerprint if stage.honours_erasure else ""
    if forgotten:
        parts["forgotten"] = forgotten
    if stage.publishes:
        # Manifests hold seconds and joules, which differ between equal outputs.
        parts["manifests"] = {name: sha256_file(root / name / MANIFEST) for name in stage.reads(recipe)}
    return sha256_json(parts)


def find_cached(stage: Stage, root: Path, key: str) -> tuple[bool, str]:
    """Return whether a stage was finished with this key and its outputs are what it wrote; else what is wrong with one.

    The text is empty where the stage was not finished with this key.
    """
    manifest = read_manifest(root / stage.directory)
    if manifest is None or manifest["key"] != key:
        return False, ""
    name = changed_output(root / stage.directory, manifest)
    return name is None, f"{name} is missing or was changed" if name else ""


def partial_key(partial: Path) -> str | None:
    """Return the key of an unfinished attempt, or None without a readable one."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(read_json(partial / KEY)["key"])
    return None


def _reason(stage: Stage, recipe: Recipe, root: Path, key: str) -> str:
    """Say why a stage that is not cached runs."""
    partial = root / f"{stage.directory}.partial"
    if partial.exists():
        resumes = stage.resumable and partial_key(partial) == key
        return "resumes where it was stopped" if resumes else "was stopped, starts over"
    manifest = read_manifest(root / stage.directory)
    if manifest is None:
        return "not yet run"
    if changed := _changed_fields(manifest["config"], stage.configuration(recipe)):
        return f"changed: {', '.join(changed)}"
    if stage.seeded and manifest["seed"] != recipe.seed:
        return "changed: seed"
    moved = [n for n in stage.reads(recipe) if manifest["inputs"].get(n) != manifest_of(root, n)["digest"]]
    if moved:
        return f"changed input: {', '.join(moved)}"
    return f"changed files, model or stage version{', or erasure list' * stage.honours_erasure}"


def _changed_fields(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changed = []
    for section, value in now.items():
        old = before.get(section)
        if isinstance(value, dict) and isinstance(old, dict):
            fields = [*value, *(field for field in old if field not in value)]
            differing = (f"{section}.{field}" for field in fields if old.get(field) != value.get(field))
            changed += [RENAMED.get(key, key) for key in differing]
        elif old != value:
            changed.append(section)
    return changed
