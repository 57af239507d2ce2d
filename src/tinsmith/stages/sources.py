"""Which files a build would read, without reading or fetching any: for keys and plans."""

from __future__ import annotations

import os
from pathlib import Path

from tinsmith.corpus.readers.sources import find_files
from tinsmith.foundation import assets
from tinsmith.foundation.errors import RecipeError
from tinsmith.foundation.files import sha256_file
from tinsmith.recipe import IngestConfig, Recipe


def present_files(config: IngestConfig) -> list[Path]:
    """List the source files on this machine; a named corpus that is not fetched yet has none."""
    here = tuple(name for name in config.sources if not assets.is_corpus(name) or assets.is_cached(name))
    return [file.path for file in find_files(here, config.exclude).files] if here else []


def source_stamps(config: IngestConfig) -> list[str]:
    """Return what changes when a document does: identity of named corpora; path, size and time of files."""
    named = [assets.identify(name) for name in config.sources if assets.is_corpus(name)]
    own = tuple(name for name in config.sources if not assets.is_corpus(name))
    files = find_files(own, config.exclude).files if own else ()
    stamps = [(file.path, look_at(file.path)) for file in files]
    return named + [f"{path}:{status.st_size}:{status.st_mtime_ns}" for path, status in stamps]


def example_stamps(recipe: Recipe) -> list[str]:
    """Return what changes when a conversation or a preference that would be learnt from does."""
    asked = {"sft": recipe.tokenize.conversations, "dpo": recipe.tokenize.preferences}
    names = [name for objective, files in asked.items() if objective in recipe.train.shares for name in files]
    stamps = []
    for name in names:
        try:
            stamps.append(f"{name}:{sha256_file(Path(name).expanduser())}")
        except OSError as error:
            raise RecipeError(
                f"cannot be read ({error.strerror})",
                where=name,
                next_step="name JSON Lines files that are there",
            ) from None
    return stamps


def look_at(path: Path) -> os.stat_result:
    """Return the status of what a path leads to; of the link itself where it leads nowhere."""
    try:
        return path.stat()
    except OSError:
        return path.lstat()
