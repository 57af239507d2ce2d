"""Which source files a recipe names, without reading or fetching any: for cache keys and plans."""

from __future__ import annotations

import os
from pathlib import Path

from tinsmith.base import assets
from tinsmith.corpus.readers.sources import find_files
from tinsmith.recipe import IngestConfig


def present_files(config: IngestConfig) -> list[Path]:
    """List the source files on this machine; a named corpus that is not fetched yet has none."""
    here = tuple(name for name in config.sources if not assets.is_corpus(name) or assets.is_cached(name))
    return [file.path for file in find_files(here, config.exclude).files] if here else []


def look_at(path: Path) -> os.stat_result:
    """Return the status of a path's target; of the link itself if the target is missing."""
    try:
        return path.stat()
    except OSError:
        return path.lstat()
