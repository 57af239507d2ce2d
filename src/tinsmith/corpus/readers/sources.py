"""List the files that a recipe names: folders, files, globs and named corpora."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tinsmith.base import assets
from tinsmith.base.errors import CorpusError


@dataclass(frozen=True)
class SourceFile:
    """A file to read: its path, its name in tables, and the licence of its named corpus (else empty)."""

    path: Path
    source: str
    licence: str


@dataclass(frozen=True)
class FoundFiles:
    """Files sorted by source name, the number of excluded ones, and folders that cannot be listed.

    `unused` are the patterns of `exclude` that match no file.
    """

    files: tuple[SourceFile, ...]
    excluded: int
    unlistable: tuple[str, ...]
    unused: tuple[str, ...]


def find_files(sources: Sequence[str], exclude: Sequence[str] = ()) -> FoundFiles:
    """List the files of all sources, each once, sorted by source name.

    Folders include their subfolders, and links are followed once. Names that begin with a dot are skipped.
    The name of a known corpus means the corpus; write `./name` for a folder of that name.

    Raises:
        CorpusError: a source does not exist, matches nothing, has no file or cannot be opened.
    """
    unlistable: list[str] = []
    named = list(_once([file for source in sources for file in _files_of(source, unlistable)]))
    excluding = [_matching(file, exclude) for file in named]
    kept = tuple(file for file, patterns in zip(named, excluding, strict=True) if not patterns)
    unused = tuple(pattern for pattern in exclude if not any(pattern in patterns for patterns in excluding))
    return FoundFiles(kept, len(named) - len(kept), tuple(unlistable), unused)


def _files_of(source: str, unlistable: list[str]) -> list[SourceFile]:
    files = list(_expand(source, unlistable))
    if not files:
        next_step = "name a folder, file, glob or corpus that has files"
        raise CorpusError("has no files", where=source, next_step=next_step)
    return files


def _expand(source: str, unlistable: list[str]) -> Iterator[SourceFile]:
    corpus = assets.resolve_corpus(source)
    if corpus is not None:
        licence = assets.corpus_licence(source)
        for path in _walk(corpus, unlistable):
            yield SourceFile(path, f"{source}:{path.relative_to(corpus).as_posix()}", licence)
        return
    path = Path(source).expanduser()
    if path.is_dir():
        if not os.access(path, os.R_OK | os.X_OK):
            raise CorpusError("cannot be listed", where=source, next_step="check the folder's permissions")
        yield from (SourceFile(file, file.as_posix(), "") for file in _walk(path, unlistable))
    elif os.path.lexists(path):
        yield SourceFile(path, path.as_posix(), "")
    elif glob.has_magic(source):
        for match in map(Path, glob.glob(str(path), recursive=True)):
            files = _walk(match, unlistable) if match.is_dir() else [match]
            yield from (SourceFile(file, file.as_posix(), "") for file in files)
    else:
        raise CorpusError(
            f"no such file, folder or known corpus (looked for {path.absolute()})",
            where=source,
            next_step="correct ingest.sources in the recipe; `tinsmith models` lists the corpora",
        )


def _walk(root: Path, unlistable: list[str]) -> Iterator[Path]:
    """Yield the files below a folder; a folder reached again through links is entered once."""
    entered: set[tuple[int, int]] = set()

    def note_unlistable(error: OSError) -> None:
        unlistable.append(Path(error.filename).as_posix())

    for folder, folders, names in os.walk(root, followlinks=True, onerror=note_unlistable):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _matching(file: SourceFile, patterns: Sequence[str]) -> list[str]:
    """Return the patterns that match the path or a tail of it: `drafts/*` matches docs/drafts/a.txt."""
    parts = file.source.replace(":", "/").split("/")
    tails = [file.source, *("/".join(parts[start:]) for start in range(len(parts)))]
    return [pattern for pattern in patterns if any(fnmatchcase(tail, pattern) for tail in tails)]


def _once(files: list[SourceFile]) -> Iterator[SourceFile]:
    """Yield each file once, under its first name in order, if several sources or links lead to it."""
    seen: set[str] = set()
    for file in sorted(files, key=lambda file: file.source):
        real = os.path.realpath(file.path)
        if real not in seen:
            seen.add(real)
            yield file
