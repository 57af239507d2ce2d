"""A whole bundle as version 2026-11 wrote it, unpacked for tests that change it."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tinsmith.base.files import read_json
from tinsmith.evaluate.verify import check_figures
from tinsmith.recipe.toml import parse_recipe

_ARCHIVE = Path(__file__).parent / "fixtures" / "bundle-2026-11.tar.xz"


def unpack(folder: Path) -> Path:
    """Unpack the bundle below `folder` and return its directory."""
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "bundle"


def check(bundle: Path) -> int:
    """Compute its figures again from its items, as `tinsmith verify` does; return how many numbers agree."""
    recipe = parse_recipe(read_json(bundle / "recipe.json"), where="recipe.json")
    return check_figures(bundle / "data" / "metrics.json", bundle / "items", recipe, gguf=bundle / "gguf")
