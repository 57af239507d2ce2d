"""Which files a build would read, without reading or fetching any: for keys and plans."""

from __future__ import annotations

from pathlib import Path

from tinsmith.corpus.readers.sources import find_files
from tinsmith.foundation import assets
from tinsmith.recipe import IngestConfig


def present_files(config: IngestConfig) -> list[Path]:
    """List the source files on this machine; a named corpus that is not fetched yet has none."""
    here = tuple(name for name in config.sources if name not in assets.KNOWN or assets.is_cached(name))
    return [file.path for file in find_files(here, config.exclude).files] if here else []


def source_stamps(config: IngestConfig) -> list[str]:
    """Return what changes when a document does: identity of named corpora; path, size and time of files."""
    named = [assets.identify(name) for name in config.sources if name in assets.KNOWN]
    own = tuple(name for name in config.sources if name not in assets.KNOWN)
    files = find_files(own, config.exclude).files if own else ()
    stamps = [(file.path, file.path.lstat()) for file in files]
    return named + [f"{path}:{status.st_size}:{status.st_mtime_ns}" for path, status in stamps]
