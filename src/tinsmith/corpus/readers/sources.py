"""Which files a recipe names: folders, single files, globs and named corpora."""

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
    """A file to read: where it is, the name that it bears in tables, and the licence of its corpus."""

    path: Path
    source: str
    licence: str


@dataclass(frozen=True)
class Found:
    """The files in order of their source names, how many were excluded, and folders that cannot be listed."""

    files: tuple[SourceFile, ...]
    excluded: int
    closed: tuple[str, ...]


def find_files(sources: Sequence[str], exclude: Sequence[str] = ()) -> Found:
    """List the files of all sources, each once, sorted by source name.

    Folders are walked with their subfolders, links followed once; names that begin with a dot are left out.
    A known corpus's name stands for the corpus; write `./name` for a folder of that name.

    Raises:
        CorpusError: a source does not exist, matches nothing, holds no file or cannot be opened.
    """
    closed: list[str] = []
    named = list(_once([file for source in sources for file in _files_of(source, closed)]))
    kept = tuple(file for file in named if not _excluded(file, exclude))
    return Found(kept, len(named) - len(kept), tuple(closed))


def _files_of(source: str, closed: list[str]) -> list[SourceFile]:
    files = list(_expand(source, closed))
    if not files:
        next_step = "name a folder, file, glob or corpus with documents"
        raise CorpusError("holds no file", where=source, next_step=next_step)
    return files


def _expand(source: str, closed: list[str]) -> Iterator[SourceFile]:
    corpus = assets.resolve_corpus(source)
    if corpus is not None:
        licence = assets.corpus_licence(source)
        for path in _walk(corpus, closed):
            yield SourceFile(path, f"{source}:{path.relative_to(corpus).as_posix()}", licence)
        return
    path = Path(source).expanduser()
    if path.is_dir():
        if not os.access(path, os.R_OK | os.X_OK):
            raise CorpusError("cannot be listed", where=source, next_step="check the folder's permissions")
        yield from (SourceFile(found, found.as_posix(), "") for found in _walk(path, closed))
    elif os.path.lexists(path):
        yield SourceFile(path, path.as_posix(), "")
    elif glob.has_magic(source):
        for match in map(Path, glob.glob(str(path), recursive=True)):
            inside = _walk(match, closed) if match.is_dir() else [match]
            yield from (SourceFile(found, found.as_posix(), "") for found in inside)
    else:
        raise CorpusError(
            f"no such file, folder or known corpus (looked for {path.absolute()})",
            where=source,
            next_step="correct ingest.sources in the recipe; `tinsmith models` lists the corpora",
        )


def _walk(root: Path, closed: list[str]) -> Iterator[Path]:
    """Yield the files below a folder; a folder that links lead to again is entered once."""
    entered: set[tuple[int, int]] = set()

    def refused(error: OSError) -> None:
        closed.append(Path(error.filename).as_posix())

    for folder, folders, names in os.walk(root, followlinks=True, onerror=refused):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _excluded(file: SourceFile, patterns: Sequence[str]) -> bool:
    """Match each pattern with the path and with every tail of it: `drafts/*` leaves out docs/drafts/a.txt."""
    parts = file.source.replace(":", "/").split("/")
    tails = [file.source, *("/".join(parts[start:]) for start in range(len(parts)))]
    return any(fnmatchcase(tail, pattern) for pattern in patterns for tail in tails)


def _once(files: list[SourceFile]) -> Iterator[SourceFile]:
    """Drop what two sources or two links lead to; the first name in order stays."""
    seen: set[str] = set()
    for file in sorted(files, key=lambda file: file.source):
        real = os.path.realpath(file.path)
        if real not in seen:
            seen.add(real)
            yield file
