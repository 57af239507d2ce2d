"""Which documents may be learnt from: their licence, their access label, and what a person wants forgotten.

Each label comes from the first of these that states it: the row of the file that fits the source (an exact
name before a pattern, patterns in their order), the first rule whose path fits, the document itself (front
matter or a field of its record), and for the licence the corpus or `ingest.licence`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tinsmith.base.erasure import NOTHING, ErasureList
from tinsmith.base.errors import RecipeError
from tinsmith.corpus.licences import normalise, normalise_expression, refusal
from tinsmith.corpus.rejection import Drop
from tinsmith.recipe import RightsConfig

# Reason -> the field of the recipe that causes it, in the order in which they are asked.
REASONS = {
    "forgotten": "",
    "licence_refused": "rights.allow_licences, rights.deny_licences",
    "access_refused": "rights.allow_access, rights.deny_access",
}
# A document that goes for one of these leaves its id, source and reason, and no text: not even in rejects.
TEXTLESS = frozenset(REASONS)
UNKNOWN = "unknown"  # what patterns match where nothing states a label
_LICENCE_KEYS = ("licence", "license", "spdx")
_ACCESS_KEYS = ("access", "classification", "confidentiality", "sensitivity")
_COLUMNS = {"source": "source", "licence": "licence", "license": "licence", "access": "access"}
_MAGIC = re.compile(r"[*?\[]")


class Labels(NamedTuple):
    """What is stated of a document's rights; empty where nothing is."""

    licence: str
    access: str


class Rights:
    """Judge documents by the recipe's rules, the file that they name, and what is forgotten.

    Holds nothing that changes, so threads and processes may share it. Raises RecipeError for a file that
    cannot be read or says two things of one source.
    """

    def __init__(self, config: RightsConfig, forgotten: ErasureList = NOTHING) -> None:
        self.config, self.forgotten = config, forgotten
        rows = read_register(Path(config.file).expanduser()) if config.file else {}
        # A name with a bracket in it may be meant as it stands, so patterns are looked up as names too.
        self.named = rows
        self.patterns = [(pattern, labels) for pattern, labels in rows.items() if _MAGIC.search(pattern)]
        self.patterns += [(rule.path, Labels(rule.licence, rule.access)) for rule in config.rules]

    def judge(self, source: str, sha256: str, licence: str, meta: str) -> tuple[str, str, Drop | None]:
        """Return (licence, access, why the document goes or None), licences by SPDX id where they have one.

        `licence` and `meta` (a JSON object) are those of `ingest/documents.parquet`, `sha256` is the file's.
        """
        stated = self.stated(source)
        own = _lower_keys(meta)
        label = normalise_expression(stated.licence or _said(own, _LICENCE_KEYS) or licence)
        access = stated.access or _said(own, _ACCESS_KEYS)
        if self.forgotten.holds_file(source, sha256):
            return label, access, Drop("forgotten", "file")
        config = self.config
        why = refuse(label, config.allow_licences, config.deny_licences)
        if why:
            return label, access, Drop("licence_refused", why)
        why = refuse(access, config.allow_access, config.deny_access)
        return label, access, Drop("access_refused", why) if why else None

    def judge_document(self, doc_id: str) -> Drop | None:
        """Return why a text goes by its id alone, asked of the id before and after its text is changed."""
        return Drop("forgotten", "text") if self.forgotten.holds_document(doc_id) else None

    def stated(self, source: str) -> Labels:
        """Return what the file and the rules say of a source, each label from the first that states it."""
        tails = _tails(source)
        found = [self.named[tail] for tail in tails if tail in self.named]
        found += [labels for pattern, labels in self.patterns if _fits(tails, pattern)]
        return Labels(
            next((labels.licence for labels in found if labels.licence), ""),
            next((labels.access for labels in found if labels.access), ""),
        )

    def unused(self, sources: Iterable[str]) -> list[str]:
        """Return the rows of the file and the rules' paths that fit none of the sources, in their order."""
        left = dict.fromkeys([*self.named, *(rule.path for rule in self.config.rules)])
        for source in sources:
            if not left:
                break
            tails = _tails(source)
            for pattern in [each for each in left if each in tails or _fits(tails, each)]:
                del left[pattern]
        return list(left)


def read_register(path: Path) -> dict[str, Labels]:
    """Read a CSV file with the columns source and licence, access or both; return labels by source or pattern.

    Raises RecipeError where it cannot be read, lacks a column, or says two things of one source.
    """
    rows: dict[str, Labels] = {}
    for line, row in _read_csv(path):
        source, labels = row.get("source", ""), Labels(row.get("licence", ""), row.get("access", ""))
        if not source or not any(labels):
            what = "no source" if not source else f"neither licence nor access for {source}"
            raise _mistake(path, f"line {line} has {what}", "fill the cell, or remove the line")
        if rows.setdefault(source, labels) != labels:
            raise _mistake(path, f"line {line} says another thing of {source}", "keep one of its lines")
    return rows


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = [_COLUMNS.get(name.strip().lower(), "") for name in next(reader, [])]
            if "source" not in names or not {"licence", "access"} & set(names):
                found = ", ".join(name for name in names if name) or "none of these"
                raise _mistake(
                    path,
                    f"needs the columns source, licence, access; it has {found}",
                    "name them in its first line",
                )
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, {n: c.strip() for n, c in zip(names, cells) if n}
    except OSError as error:
        raise _mistake(path, f"cannot be read ({error.strerror})", "name a CSV file that is there") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise _mistake(path, f"is no CSV in UTF-8 ({error})", "save it as CSV in UTF-8") from None


def _mistake(path: Path, what: str, next_step: str) -> RecipeError:
    return RecipeError(f"{path}: {what}", where="curate.rights.file", next_step=next_step)


@lru_cache(maxsize=4096)
def refuse(label: str, allow: tuple[str, ...], deny: tuple[str, ...]) -> str:
    """Return why a label, or an expression of several, is refused; empty where it is not.

    Patterns are those of fnmatch, in any case; a label that is not stated is matched as "unknown".
    """
    return refusal(label or UNKNOWN, lambda single: _refuse_single(single, allow, deny))


def _refuse_single(label: str, allow: tuple[str, ...], deny: tuple[str, ...]) -> str:
    denied = next((pattern for pattern in deny if _matches(label, pattern)), None)
    if denied is not None:
        return f"{label} is denied by {denied}"
    if allow and not any(_matches(label, pattern) for pattern in allow):
        return f"{label} is not among those allowed"
    return ""


def _matches(label: str, pattern: str) -> bool:
    forms = {label.casefold(), normalise(label).casefold()}
    wanted = {pattern.casefold()} | (set() if _MAGIC.search(pattern) else {normalise(pattern).casefold()})
    return any(fnmatchcase(form, each) for form in forms for each in wanted)


@lru_cache(maxsize=4096)
def _tails(source: str) -> tuple[str, ...]:
    """Return a source and every tail of its path, as ingest.exclude sees it: `a/b.txt` is a tail of `docs/a/b.txt`."""
    parts = source.replace(":", "/").split("/")
    return (source, *("/".join(parts[start:]) for start in range(len(parts))))


@lru_cache(maxsize=65536)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def _fits(tails: tuple[str, ...], pattern: str) -> bool:
    match = _compiled(pattern).match
    return any(match(tail) for tail in tails)


def _lower_keys(meta: str) -> dict[str, Any]:
    try:
        said = json.loads(meta) if meta else {}
    except ValueError:
        return {}
    return {str(key).lower(): value for key, value in said.items()} if isinstance(said, dict) else {}


def _said(said: dict[str, Any], keys: tuple[str, ...]) -> str:
    """Return the first label that metadata hold; of a list all, since each may bind."""
    for key in keys:
        value = said.get(key)
        values = value if isinstance(value, list) else [value]
        words = [each.strip() for each in values if isinstance(each, str) and each.strip()]
        if words:
            return " AND ".join(words)
    return ""
