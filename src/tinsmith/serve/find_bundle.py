"""Say what to do where a person names a recipe, or a folder around a bundle, instead of the bundle."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

from tinsmith.base.errors import BundleError


def expect_bundle(path: Path) -> None:
    """Raise BundleError where a path is a recipe, or a folder with a recipe or a run: what to build, or what to give.

    Any other path is left to whoever opens it.
    """
    if path.is_file() and path.suffix != ".toml":
        return
    if path.is_dir() and ((path / "jobs").is_dir() or (path / "gguf").is_dir()):
        return
    recipe = _recipe_of(path)
    bundle = _bundle_of(recipe) if recipe else path / "bundle"
    if bundle and bundle.is_dir() and bundle != path:
        raise BundleError("is not a bundle", where=str(path), next_step=f"give {shlex.quote(str(bundle))}")
    if recipe:
        what = (
            "is a recipe, which is not built yet"
            if path == recipe
            else "holds no bundle: it is not built yet"
        )
        there = f", then give {shlex.quote(str(bundle))}" if bundle else ""
        raise BundleError(
            what,
            where=str(path),
            next_step=f"build it first: tinsmith build {shlex.quote(str(recipe))}{there}",
        )


def _recipe_of(path: Path) -> Path | None:
    """Return the recipe that a path is, or that is in its folder, or in a folder above a run."""
    if path.suffix == ".toml" or (path.suffix and not path.exists()):
        return path if path.is_file() else None
    # DIR/recipe.toml, DIR/runs/NAME and DIR/runs/NAME/bundle belong together.
    near = (folder / "recipe.toml" for folder in (path, *list(path.absolute().parents)[:3]))
    return next((file for file in near if file.is_file()), None)


def _bundle_of(recipe: Path) -> Path | None:
    """Return where the bundle of a recipe is, or will be; None for a recipe that cannot be read."""
    try:
        given = tomllib.loads(recipe.read_text(encoding="utf-8-sig"))
        return Path(given.get("runs", "runs")).expanduser() / str(given["name"]) / "bundle"
    except (OSError, ValueError, KeyError, TypeError):
        return None
