"""What a build would read and begin with, without reading or fetching any of it: for keys and plans."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from tinsmith.base import assets
from tinsmith.base.errors import RecipeError
from tinsmith.base.files import sha256_file
from tinsmith.corpus.evaluation_files import find_files as find_evaluation_files
from tinsmith.corpus.readers.sources import find_files
from tinsmith.evaluate.families.general_files import general_stamps
from tinsmith.evaluate.own_questions import read_own_questions
from tinsmith.model.presets import PRESETS, Preset
from tinsmith.recipe import (
    EXAMPLE_FILES,
    EvaluateConfig,
    IngestConfig,
    Recipe,
    RefineConfig,
    RightsConfig,
    token_sets,
)


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
    """Return the hashes of the files of conversations and preferences that the objectives learn from."""
    read = token_sets(recipe.train.shares)
    names = [
        n
        for tokens, field in EXAMPLE_FILES.items()
        if tokens in read
        for n in getattr(recipe.tokenize, field)
    ]
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


def question_stamps(config: EvaluateConfig) -> list[str] | None:
    """Return what changes when a file of questions or of a general test does; None where the recipe names none."""
    read_own_questions(config.questions)
    own = [f"{name}:{sha256_file(Path(name).expanduser())}" for name in config.questions]
    return [*own, *general_stamps(config.general)] or None


def compared_stamps(config: RefineConfig) -> list[str] | None:
    """Return what changes when an evaluation file or an exemplar does; None where the recipe names neither."""
    stamps = []
    if config.contamination.action != "off":
        stamps += [
            f"{path}:{sha256_file(path)}" for path in find_evaluation_files(config.contamination.files)
        ]
    if config.score.kind == "exemplars":
        files = (file.path for file in find_files(config.score.exemplars.sources).files)
        stamps += [f"{path}:{look_at(path).st_size}:{look_at(path).st_mtime_ns}" for path in files]
    return stamps or None


def register_stamp(config: RightsConfig) -> list[str] | None:
    """Return what changes when the file of licences and access labels does; None where the recipe names none."""
    if not config.file:
        return None
    try:
        return [sha256_file(Path(config.file).expanduser())]
    except OSError as error:
        raise RecipeError(
            f"{config.file} cannot be read ({error.strerror})",
            where="curate.rights.file",
            next_step="name a CSV file that is there",
        ) from None


def published_shape(name: str) -> Preset:
    """Return a published shape. Raises RecipeError where none bears the name, before anything is read or fetched."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        raise RecipeError(
            f"no published shape is called {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            where="model.scratch",
            next_step=f"write family@size, such as llama@15m, or one of {', '.join(PRESETS)}",
        )
    return PRESETS[name]


def look_at(path: Path) -> os.stat_result:
    """Return the status of what a path leads to; of the link itself where it leads nowhere."""
    try:
        return path.stat()
    except OSError:
        return path.lstat()
