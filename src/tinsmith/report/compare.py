"""Compare a stored evidence.json with what the bundle's other files give."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tinsmith.base.files import JsonObject
from tinsmith.evidence.outcome import NOT_SHOWN
from tinsmith.report.schema import FORMAT, Evidence

# Keys whose text earlier versions worded differently.
_SENTENCES = frozenset({"headline", "text", "label", "embodied", "counts", "note", "not_proven", "sentences"})
DECIDED_BY_P = 3  # the first format whose outcomes ask the p-value as well
# Outcomes of findings that earlier versions told as another.
_OLD_OUTCOMES = {NOT_SHOWN: "kept"}
# Findings of earlier versions by key, and the section that they belong to now.
_OLD_FINDINGS = {"leakage": "leakage", "conduct": "conduct", "general": "general", "exam": "quality"}


def is_current(stored: JsonObject) -> bool:
    """Say whether evidence.json was written in the present format."""
    return bool(stored.get("format") == FORMAT)


def decided_by_interval(stored: JsonObject) -> bool:
    """Say whether evidence.json is of a format whose outcomes were decided by the interval alone."""
    return int(stored.get("format", 1)) < DECIDED_BY_P


def first_difference(stored: JsonObject, evidence: Evidence) -> str | None:
    """Name the first place where a stored evidence.json differs from the evidence; None where there is none.

    Of a file that an earlier version wrote, only data that both know is compared, and the outcomes of findings.
    """
    if is_current(stored):
        return _difference(stored, evidence.to_json(), _all_keys)
    given = evidence.model_dump(mode="json")
    if decided_by_interval(stored):
        stored, given = _old_outcomes(stored), _old_outcomes(given)
    if "format" in stored:
        return _difference(stored | {"format": FORMAT}, given, _common_data)
    return (
        _old_findings(stored, given)
        or _old_answers(stored, given)
        or _difference({"curation": stored.get("curation")}, given, _common_keys)
        or _difference(stored, given, _common_data)
    )


def _old_outcomes(content: JsonObject) -> JsonObject:
    """Return a content of evidence.json with the outcomes of its findings as earlier versions told them."""
    findings = {
        section: [row | {"outcome": _OLD_OUTCOMES.get(row["outcome"], row["outcome"])} for row in rows]
        for section, rows in content.get("findings", {}).items()
    }
    return content | ({"findings": findings} if findings else {})


Keys = Callable[[JsonObject, JsonObject], Iterable[str]]


def _difference(stored: Any, given: Any, keys: Keys, where: str = "") -> str | None:
    """Name the first difference between two JSON values, looking at some keys of objects."""
    pairs: Iterable[tuple[str, Any, Any]] | None = None
    if isinstance(stored, dict) and isinstance(given, dict):
        pairs = ((f".{key}", stored.get(key), given.get(key)) for key in sorted(keys(stored, given)))
    elif isinstance(stored, list) and isinstance(given, list) and len(stored) == len(given):
        pairs = ((f"[{n}]", *pair) for n, pair in enumerate(zip(stored, given, strict=True)))
    if pairs is not None:
        found = (_difference(old, new, keys, where + step) for step, old, new in pairs)
        return next((place for place in found if place is not None), None)
    return None if stored == given else where.lstrip(".")


def _all_keys(stored: JsonObject, given: JsonObject) -> Iterable[str]:
    return stored.keys() | given.keys()


def _common_keys(stored: JsonObject, given: JsonObject) -> Iterable[str]:
    return stored.keys() & given.keys()


def _common_data(stored: JsonObject, given: JsonObject) -> Iterable[str]:
    """Return the keys of both but for sentences, and for what an earlier version wrote where nothing was found."""
    common = (stored.keys() & given.keys()) - _SENTENCES - {"curation"}
    # The verdict of a finding is a sentence, that of the report holds data.
    common -= {key for key in common if key == "verdict" and isinstance(stored[key], str)}
    return (key for key in common if stored[key] or given[key])


def _old_findings(stored: JsonObject, given: JsonObject) -> str | None:
    """Name the first list of an earlier version's findings whose outcomes are not those of now."""
    old = stored | {"exam": stored.get("verdict", {}).get("exam")}
    for key, section in _OLD_FINDINGS.items():
        outcomes = [finding["outcome"] for finding in old.get(key) or []]
        if outcomes != [finding["outcome"] for finding in given["findings"].get(section, [])]:
            return key
    return None


def _old_answers(stored: JsonObject, given: JsonObject) -> str | None:
    """Name the first difference in an earlier version's table of answers in words."""
    old, generated = stored.get("answers") or {}, given["generated"] or {}
    tables = [row["cells"] for task in old.get("tasks", []) for row in task["rows"]]
    figures = {(row["subject"], row["metric"]): row for row in generated.get("metrics", [])}
    cells = [cell for row in tables for cell in row if cell]
    if len(cells) != len(figures):
        return "answers.tasks"
    pairs = [(cell, figures.get((cell["subject"], cell["metric"]))) for cell in cells]
    pairs += [
        (old.get("systems"), generated.get("systems")),
        (old.get("differences"), generated.get("comparisons")),
    ]
    return next(
        ("answers" + place for pair in pairs if (place := _difference(*pair, _common_data)) is not None), None
    )
