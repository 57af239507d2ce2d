"""Decide by licence, access label and erasure list which documents may be learnt from.

A label comes from the first source that states it: a row of the register file with the exact name, a row with a
pattern, a rule of the recipe, the document's own metadata; for the licence also the corpus or `ingest.licence`.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tinsmith.base.erasure import NOTHING, ErasureList
from tinsmith.base.errors import RecipeError
from tinsmith.corpus.licences import (
    KNOWN_LICENCES,
    normalise,
    normalise_expression,
    refusal,
    split_labels,
)
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import RightsConfig

# Reason -> the recipe field that causes it, in the order of the checks.
REASONS = {
    "forgotten": "",
    "licence_refused": "rights.allow_licences, rights.deny_licences",
    "access_refused": "rights.allow_access, rights.deny_access",
}
# A document rejected for one of these keeps its id, source and reason, but no text, not even among the rejects.
TEXTLESS = frozenset(REASONS)
UNKNOWN = "unknown"  # what patterns match where no label is stated
_LICENCE_KEYS = ("licence", "license", "spdx")
_ACCESS_KEYS = ("access", "classification", "confidentiality", "sensitivity")
_COLUMNS = {"source": "source", "licence": "licence", "license": "licence", "access": "access"}
_MAGIC = re.compile(r"[*?\[]")
_SHOWN = 10  # statements that an error names


class Labels(NamedTuple):
    """The licence and access label of a document; empty where not stated."""

    licence: str
    access: str


class Statement(NamedTuple):
    """A rule or a row of the register: the labels of all sources that match its pattern, and where it is written."""

    pattern: str
    labels: Labels
    where: str

    def __str__(self) -> str:
        return f"{self.where} ({self.pattern})"


class Rights:
    """Look up the labels of documents and reject those that the recipe does not allow.

    Immutable, so threads and processes may share it. Raises RecipeError for a register that cannot be read or
    contradicts itself.
    """

    def __init__(self, config: RightsConfig, forgotten: ErasureList = NOTHING) -> None:
        self.config, self.forgotten = config, forgotten
        # Keyed by name as well as matched as a pattern: a file name may itself hold a bracket.
        self.register = read_register(Path(config.file).expanduser()) if config.file else {}
        self.patterns = [row for row in self.register.values() if _MAGIC.search(row.pattern)]
        self.patterns += [
            Statement(
                rule.path, Labels(rule.licence.strip(), rule.access.strip()), f"curate.rights.rules[{number}]"
            )
            for number, rule in enumerate(config.rules)
        ]

    def check(self, source: str, sha256: str, licence: str, meta: str) -> tuple[str, str, Rejection | None]:
        """Return (licence, access, rejection or None); licences by SPDX id where they have one.

        `licence` and `meta` (a JSON object) are those of `ingest/documents.parquet`, `sha256` is the file's.
        """
        stated = self.stated(source)
        metadata = _lower_keys(meta)
        label = normalise_expression(stated.licence or _first_label(metadata, _LICENCE_KEYS) or licence)
        access = stated.access or _first_label(metadata, _ACCESS_KEYS)
        if self.forgotten.holds_file(source, sha256):
            return label, access, Rejection("forgotten", "file")
        config = self.config
        why = refuse(label, config.allow_licences, config.deny_licences)
        if why:
            return label, access, Rejection("licence_refused", why)
        why = refuse(access, config.allow_access, config.deny_access)
        return label, access, Rejection("access_refused", why) if why else None

    def check_erased(self, doc_id: str) -> Rejection | None:
        """Reject a text on the erasure list; check its id both before and after curation changes the text."""
        return Rejection("forgotten", "text") if self.forgotten.holds_document(doc_id) else None

    def stated(self, source: str) -> Labels:
        """Return what the register and the rules state of a source, each label by the first that has it."""
        found = [statement.labels for statement in self._matching(source)]
        return Labels(
            next((labels.licence for labels in found if labels.licence), ""),
            next((labels.access for labels in found if labels.access), ""),
        )

    def _matching(self, source: str) -> Iterator[Statement]:
        """Yield the statements that match a source, the strongest first."""
        tails = _tails(source)
        yield from (self.register[tail] for tail in tails if tail in self.register)
        yield from (statement for statement in self.patterns if _fits(tails, statement.pattern))

    def check_all_apply(self, sources: Iterable[str]) -> None:
        """Raise RecipeError for rules and register rows that give no source a label.

        A misspelt pattern protects nothing, and neither does a rule behind a broader one. A last `*` may be
        overruled everywhere: it is there for documents to come.
        """
        unmatched = dict.fromkeys([*self.register.values(), *self.patterns])
        overruled: dict[Statement, dict[Statement, None]] = {}
        applied: set[Statement] = set()
        for source in sources:
            deciding: dict[str, Statement] = {}
            for statement in self._matching(source):
                unmatched.pop(statement, None)
                for name, label in statement.labels._asdict().items():
                    winner = deciding.setdefault(name, statement) if label else None
                    if winner and getattr(winner.labels, name) == label:
                        applied.add(statement)
                    elif winner:
                        overruled.setdefault(statement, {})[winner] = None
        faults = [f"{statement} matches no document" for statement in unmatched]
        faults += [f"{statement} gives no label" for statement in self.patterns if not any(statement.labels)]
        faults += [
            f"{statement} is overruled for every document it matches by {', '.join(map(str, [*winners][:3]))}"
            for statement, winners in overruled.items()
            if statement not in applied and (not _is_default(statement) or any(map(_is_default, winners)))
        ]
        if faults:
            more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise RecipeError(
                f"rules that label no document: {'; '.join(faults[:_SHOWN])}{more}",
                where="curate.rights",
                next_step="correct the pattern, put a narrow rule before a broad one, or remove the rule",
            )

    def check_patterns(self, documents: Iterable[tuple[str, str, str, str]]) -> None:
        """Raise RecipeError for patterns of the recipe that are misspelt, since they would let documents through.

        A pattern of deny_access has to match a label of a document, a rule or the register. One of the licences may
        match a licence that no document has, but then a known one. `documents` are the arguments of `check`.
        """
        config = self.config
        lists = {
            "deny_access": config.deny_access,
            "deny_licences": config.deny_licences,
            "allow_licences": config.allow_licences,
        }
        if not any(lists.values()):
            return
        stated = [statement.labels for statement in (*self.register.values(), *self.patterns)]
        found = {self.check(*document)[:2] for document in documents} | set(stated)
        access = _single_labels(labels[1] for labels in found)
        licences = _single_labels(labels[0] for labels in found)
        for name, patterns in lists.items():
            labels = access if name == "deny_access" else licences
            accepted = labels | {UNKNOWN} | (frozenset() if name == "deny_access" else KNOWN_LICENCES)
            for pattern in patterns:
                if not any(_matches(label, pattern) for label in accepted):
                    shown = ", ".join(sorted(labels)[:_SHOWN]) or "none is stated"
                    kind = "access label" if name == "deny_access" else "known licence, and none"
                    raise RecipeError(
                        f"{pattern!r} matches no {kind} of a document ({shown})",
                        where=f"curate.rights.{name}",
                        next_step="correct the pattern, or remove it",
                    )


def _single_labels(labels: Iterable[str]) -> frozenset[str]:
    """Return the labels, those of an expression one by one."""
    singles: set[str] = set()

    def note(single: str) -> str:
        singles.add(single)
        return ""

    for label in filter(None, labels):
        refusal(label, note)
    return frozenset(singles)


def _is_default(statement: Statement) -> bool:
    return not statement.pattern.strip("*")


def read_register(path: Path) -> dict[str, Statement]:
    """Read a CSV file with the columns source and licence, access or both; return its rows by source or pattern.

    Raises RecipeError where it cannot be read, lacks a column, sets nothing, or contradicts itself.
    """
    rows: dict[str, Statement] = {}
    for line, row in _read_csv(path):
        source, labels = row.get("source", ""), Labels(row.get("licence", ""), row.get("access", ""))
        if not source or not any(labels):
            what = "has no source" if not source else f"sets neither licence nor access for {source}"
            raise _register_error(path, f"line {line} {what}", "fill the cell, or remove the line")
        if rows.setdefault(source, Statement(source, labels, f"{path}, line {line}")).labels != labels:
            raise _register_error(
                path, f"line {line} contradicts an earlier line on {source}", "keep one of them"
            )
    return rows


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            names = [_COLUMNS.get(name, "") for name in header]
            for name in header:
                if name not in _COLUMNS and (near := difflib.get_close_matches(name, _COLUMNS, 1, 0.8)):
                    raise _register_error(
                        path, f"has a column {name}", f"did you mean {near[0]}? Or rename the column"
                    )
            if "source" not in names or not {"licence", "access"} & set(names):
                found = ", ".join(filter(None, names)) or "none of these"
                raise _register_error(
                    path,
                    f"needs the columns source, licence, access; it has {found}",
                    "name them in its first line",
                )
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, {n: c.strip() for n, c in zip(names, cells) if n}
    except OSError as error:
        raise _register_error(
            path, f"cannot be read ({error.strerror})", "name an existing CSV file"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise _register_error(path, f"is not CSV in UTF-8 ({error})", "save it as CSV in UTF-8") from None


def _register_error(path: Path, what: str, next_step: str) -> RecipeError:
    return RecipeError(f"{path}: {what}", where="curate.rights.file", next_step=next_step)


@lru_cache(maxsize=4096)
def refuse(label: str, allow: tuple[str, ...], deny: tuple[str, ...]) -> str:
    """Return why a label, or an expression of several, is refused; empty if it is not.

    Patterns are those of fnmatch, in any case; a label that is not stated is matched as "unknown".
    """
    return refusal(label or UNKNOWN, lambda single: _refuse_single(single, allow, deny))


@lru_cache(maxsize=4096)
def may_leave(access: str, allowed: tuple[str, ...]) -> bool:
    """Return whether text with an access label may be sent to another machine.

    Every label of an expression must be allowed. A label that is not stated is matched as "unknown".
    """
    labels = split_labels(access or UNKNOWN)
    return bool(allowed) and not any(_refuse_single(label, allowed, ()) for label in labels)


def _refuse_single(label: str, allow: tuple[str, ...], deny: tuple[str, ...]) -> str:
    denied = next((pattern for pattern in deny if _matches(label, pattern)), None)
    if denied is not None:
        return f"{label} is denied by {denied}"
    if allow and not any(_matches(label, pattern) for pattern in allow):
        return f"{label} is not among those allowed"
    return ""


def _matches(label: str, pattern: str) -> bool:
    spellings = {label.casefold(), normalise(label).casefold()}
    wanted = {pattern.casefold()} | (set() if _MAGIC.search(pattern) else {normalise(pattern).casefold()})
    return any(fnmatchcase(spelling, each) for spelling in spellings for each in wanted)


@lru_cache(maxsize=4096)
def _tails(source: str) -> tuple[str, ...]:
    """Return a source and each tail of its path: `a/b.txt` is a tail of `docs/a/b.txt`. Same as ingest.exclude."""
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
        metadata = json.loads(meta) if meta else {}
    except ValueError:
        return {}
    return {str(key).lower(): value for key, value in metadata.items()} if isinstance(metadata, dict) else {}


def stated_access(record: Mapping[str, Any]) -> str:
    """Return the access label that the fields of a record state; empty where they state none."""
    return _first_label({name.lower(): value for name, value in record.items()}, _ACCESS_KEYS)


def _first_label(metadata: dict[str, Any], keys: tuple[str, ...]) -> str:
    """Return the first label among the keys of some metadata; all labels of a list, since each may bind."""
    for key in keys:
        value = metadata.get(key)
        values = value if isinstance(value, list) else [value]
        labels = [each.strip() for each in values if isinstance(each, str) and each.strip()]
        if labels:
            return " AND ".join(labels)
    return ""
