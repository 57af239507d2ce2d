"""Arrange what curation did for the page. Nothing here measures or decides."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from tinsmith.evidence import format as words
from tinsmith.report.plots import Mark, histogram, intervals

Rows = list[dict[str, Any]]
# Table -> the field of the recipe that enables it, and the value that disables it.
ENABLED_BY: dict[str, tuple[tuple[str, ...], Any]] = {
    "instructions": (("refine", "planted", "instructions"), "off"),
    "triggers": (("refine", "planted", "triggers"), "off"),
    "quota": (("refine", "planted", "max_source_share"), 1),
    "selftest": (("refine", "planted", "selftest"), False),
    "contamination": (("refine", "contamination", "action"), "off"),
    "boilerplate": (("refine", "boilerplate", "min_documents"), 0),
    "semantic": (("refine", "semantic", "max_similarity"), 1),
    "examples": (("refine", "score", "kind"), "off"),
    "synthesis": (("refine", "synthesis", "items"), 0),
}
SECRETS = ("private_key", "cloud_key", "access_token", "jwt", "password", "secret")
VERDICTS = {
    "allowed": "allowed",
    "licence_refused": "refused for its licence",
    "access_refused": "refused for its access label",
    "forgotten": "forgotten on request",
}
ACTIONS = {"replace": "replaced", "drop": "document dropped", "keep": "kept"}
# What happens to evaluation text in training text.
CUTTING = {
    "report": "it was left in and only reported",
    "passage": "the passages were cut out",
    "document": "documents with any of it were dropped",
}
HIDDEN = {
    "tags": "Tag characters, which spell invisible text",
    "zero_width": "Characters without width",
    "bidirectional": "Controls that display text in another order than it is stored",
    "variation_selectors": "Variation selectors after characters without variants",
    "homoglyphs": "Letters of another alphabet that look like those of the word",
}
PAYLOADS = {"words": "words of the documents in random order", "letters": "random letters"}
CHECKS = {
    "asked": "Requested",
    "answered": "Answered by the teacher",
    "whole": "Complete",
    "quoted": "Its quote is in the passage",
    "answerable": "The passage gives the same answer",
    "needs_passage": "Cannot be answered without the passage",
    "new": "Not a repeat",
    "apart_from_held_out": "Not in held-out text",
}
# Titles of reasons in refine whose own name would repeat the step; others get theirs from the name.
REASONS = {
    "contamination": "Passages cut out",
    "contaminated": "Contains evaluation text",
    "mostly_contaminated": "Too little left",
    "boilerplate": "Paragraphs cut out",
    "mostly_boilerplate": "Too little left",
    "semantic_duplicate": "Same meaning as another",
    "written": "Passed every check",
}
# Abbreviations in names of types.
_CAPITALS = re.compile(
    r"\b(?:iban|ip|mac|url|us|ssn|uk|nino|nhs|de|id|fr|insee|es|dni|it|nl|bsn|in|pan|jwt)\b"
)
# Titles of steps; a step that is not listed gets its title from its name.
STEPS = {
    "ingested": "Read",
    "rights": "Rights",
    "repair": "Repair",
    "language": "Language",
    "quality": "Quality rules",
    "privacy": "Personal data",
    "duplicates": "Duplicates",
    "training": "Training documents",
    "planted": "Planted text",
    "contamination": "Evaluation text",
    "boilerplate": "Repeated paragraphs",
    "semantic": "Same meaning",
    "score": "Quality score",
    "synthesis": "Synthetic text",
    "kept": "Used for training",
}
_BIN = ("low", "high", "documents", "kept")
_ENDS = ("ingested", "training", "kept")


class CurationView:
    """The tables and pictures of the section about curation."""

    def __init__(self, curation: dict[str, Any]) -> None:
        self.curation = curation
        self.cutting = CUTTING

    def rows(self, name: str) -> Rows:
        """Return the rows of a table; none if the run has no such table."""
        return list((self.curation[name] or {}).get("rows", []))

    def found(self, name: str) -> int:
        """Return the number of rows of a table, shown or not."""
        return int((self.curation[name] or {}).get("of", 0))

    def whole(self, name: str) -> bool:
        """Return whether the file of a table could be read to its end."""
        return bool((self.curation[name] or {}).get("whole", True))

    def wish(self, *path: str) -> Any:
        """Return the value of a field of the recipe, or None if unknown."""
        value: Any = self.curation["asked"]
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def figure(self, stage: str, name: str) -> float | None:
        """Return a statistic of a stage, or None if it has none of that name."""
        figures = self.curation["figures"] or {}
        return (figures.get(stage) or {}).get(name)

    def absent(self, *names: str) -> str:
        """Say why tables are missing: not requested, or requested and not written."""
        requested = [self._requested(name) for name in names]
        if any(requested):
            return "requested, but the run wrote no readable file of it"
        return "the run does not say whether it was requested" if None in requested else "not requested"

    def _requested(self, name: str) -> bool | None:
        path, off = ENABLED_BY[name]
        value = self.wish(*path)
        return None if value is None else bool(value != off)

    @property
    def refused(self) -> int | None:
        """Return the number of documents refused for their rights, or None if unknown."""
        if self._verdicts is None:
            return None
        return sum(count for verdict, count in self._verdicts.items() if verdict != "allowed")

    @property
    def forgotten(self) -> int | None:
        """Return the number of documents forgotten on request, or None if unknown."""
        return None if self._verdicts is None else self._verdicts.get("forgotten", 0)

    @property
    def _verdicts(self) -> dict[str, int] | None:
        return (self.curation["rights"] or {}).get("documents")

    @property
    def rights(self) -> Rows:
        """Return documents by licence, access label and verdict, in words."""
        return [
            row
            | {
                "allowed": row.get("verdict") == "allowed",
                "verdict": VERDICTS.get(row.get("verdict", ""), row.get("verdict")),
                "licence": row.get("licence") or "not stated",
                "access": row.get("access") or "not stated",
            }
            for row in self.rows("rights")
        ]

    @property
    def rights_rules(self) -> str:
        """Say which licences and access labels the recipe allows and denies."""
        rules = []
        for field, what in (
            ("allow_licences", "licences allowed"),
            ("deny_licences", "licences denied"),
            ("allow_access", "access labels allowed"),
            ("deny_access", "access labels denied"),
        ):
            patterns = self.wish("curate", "rights", field)
            rules += [f"{what}: {', '.join(patterns)}"] if patterns else []
        return "; ".join(rules)

    @property
    def privacy(self) -> Rows:
        """Return by type what was found in kept documents, how many were dropped, and recall and precision."""
        measured = (self.curation["privacy_measured"] or {}).get("types") or {}
        dropped = {row.get("type"): row.get("dropped") for row in self.rows("private")}
        rows = []
        for row in self.rows("privacy"):
            name, action = row.get("type", ""), row.get("action", "")
            if action != "keep":
                shares = measured.get(name) or {}
                # A type that drops its documents is not counted in those that stay.
                places = dict.fromkeys(("count", "documents")) if action == "drop" else {}
                rows.append(
                    row
                    | places
                    | {
                        "title": title(name),
                        "action": ACTIONS.get(action, action),
                        "dropped": dropped.get(name),
                    }
                    | {share: shares.get(share) for share in ("recall", "precision")}
                    | {"kind": "secret" if name in SECRETS else "personal data"}
                )
        return rows

    @property
    def private_found(self) -> Rows:
        """Return the types that were found."""
        return [row for row in self.privacy if _was_found(row)]

    @property
    def private_not_found(self) -> Rows:
        """Return the types that were searched for and not found."""
        return [row for row in self.privacy if not _was_found(row)]

    @property
    def private_kept(self) -> list[str]:
        """Return the types that the recipe keeps, which were not searched for."""
        return [title(row.get("type", "")) for row in self.rows("privacy") if row.get("action") == "keep"]

    def replaced(self, kind: str) -> int:
        """Return the number of replaced places of a kind (personal data, secret)."""
        return sum(row.get("count") or 0 for row in self.privacy if row["kind"] == kind)

    def dropped(self, kind: str) -> int:
        """Return the number of documents dropped for a kind (personal data, secret)."""
        return sum(row["dropped"] or 0 for row in self.privacy if row["kind"] == kind)

    @property
    def hidden(self) -> Rows:
        """Return the kinds of hidden characters in words."""
        return [row | {"kind": _word(HIDDEN, row.get("kind"))} for row in self.rows("hidden")]

    @property
    def selftest(self) -> Rows:
        """Return the self-test of triggers, with payloads in words."""
        return [row | {"payload": _word(PAYLOADS, row.get("payload"))} for row in self.rows("selftest")]

    def total(self, name: str, field: str) -> int:
        """Return the sum of a field over a table."""
        return sum(row.get(field) or 0 for row in self.rows(name))

    @property
    def refined(self) -> Rows:
        """Return the funnel of refine, with the share of the bytes before it that each row removed."""
        rows, given = [], 0
        step_given, step = 0, ""
        for row in self.rows("refined"):
            size = row.get("bytes") or 0
            if row.get("step") != step:
                step, step_given = row.get("step", ""), given
            share = size / step_given if step_given and step not in _ENDS else None
            given = size if step in _ENDS else given - size
            reason = _word(REASONS, row.get("reason")) if size else "Removed nothing"
            texts = {
                "reason": reason,
                "sign": "−" if size > 0 else "+",
                "share": _percent(share) if share else "",
            }
            texts = {"reason": "", "sign": "", "share": ""} if step in _ENDS else texts
            rows.append(row | texts | {"title": _word(STEPS, step), "end": step in _ENDS})
        return rows

    def way(self, curated: Rows) -> list[Mark]:
        """Return what was left after each step of curate, split and refine, without idle steps."""
        marks, left, refined = [], 0, False
        for row in _by_step([*curated, *self.rows("refined")]):
            step, documents, size = row["step"], row["documents"], row["bytes"]
            if step in _ENDS:
                last = step == "kept" and refined
                label = STEPS[step] if last or step != "kept" else "Kept by fixed rules"
                marks.append(
                    Mark(label, size, None, None, _amount(documents, size), "ours" if last else "other")
                )
            elif (documents or size) and left:
                shown = _percent(size / left)
                if documents:
                    shown = f"{_plus_minus(documents)}{words.plural(abs(documents), 'document')}, {shown}"
                marks.append(Mark(_word(STEPS, step), max(0, left - size), None, None, shown))
            left = size if step in _ENDS else left - size
            refined |= step == "training"
        return marks

    def way_picture(self, curated: Rows) -> Markup:
        """Draw what was left after each step, in bytes."""
        marks = self.way(curated)
        steps = "; ".join(f"{mark.label}: {mark.shown}" for mark in marks)
        return intervals(marks, f"Bytes of text left after each step: {steps}", words.size, bars=True)

    @property
    def bins(self) -> Rows:
        """Return the histogram of scores if all its bins are complete."""
        rows = self.rows("histogram")
        whole = all(isinstance(row.get(name), int | float) for row in rows for name in _BIN)
        return rows if whole else []

    def score_picture(self) -> Markup:
        """Draw a histogram of scores; kept documents are highlighted."""
        rows = self.bins
        counts = "; ".join(
            f"{row['low']:g} to {row['high']:g}: {row['documents']}, {row['kept']} kept"
            for row in rows
            if row["documents"]
        )
        bins = [(row["low"], row["high"], row["documents"], row["kept"]) for row in rows]
        return histogram(bins, f"Training documents by quality score: {counts}")

    def why(self, row: dict[str, Any]) -> str:
        """Say what moved a document's score most."""
        moved = [each for each in row.get("why") or [] if each.get("amount")]
        return ", ".join(
            f"{each.get('what', '').replace('_', ' ')} {_signed(each['amount'])}" for each in moved[:4]
        )

    @property
    def synthesis(self) -> Rows:
        """Return the checks of written items in their order, with the count and share left after each."""
        steps = (self.curation["synthesis"] or {}).get("steps") or {}
        asked = steps.get("asked") or 0
        return [
            {
                "step": _word(CHECKS, step),
                "items": count,
                "share": words.percent(count / asked) if asked else "",
            }
            for step, count in steps.items()
        ]

    @property
    def synthesis_spent(self) -> dict[str, float]:
        """Return what the teacher cost to write."""
        return (self.curation["synthesis"] or {}).get("spent") or {}

    @property
    def score_spent(self) -> dict[str, float]:
        """Return what the teacher cost to rate."""
        names = ("requests", "requests_cached", "input_tokens", "output_tokens", "cost", "joules")
        found = {name: self.figure("refine", f"score_{name}") for name in names}
        return {name: value for name, value in found.items() if value is not None}


def _by_step(rows: Rows) -> Rows:
    """Add up a funnel's rows by step."""
    found: Rows = []
    for row in rows:
        step = row.get("step", "")
        if not found or found[-1]["step"] != step:
            found.append({"step": step, "documents": 0, "bytes": 0})
        for name in ("documents", "bytes"):
            found[-1][name] += row.get(name) or 0
    return found


def _amount(documents: int, size: int) -> str:
    return f"{words.plural(documents, 'document')}, {words.size(size)}"


def _plus_minus(amount: float) -> str:
    """Return the sign of what a step removed; added amounts are negative."""
    return "−" if amount > 0 else "+"


def _percent(share: float) -> str:
    """Format the share of the bytes before it that a step removed or added."""
    shown = words.percent(abs(share), 1)
    return "under 0.1%" if shown == "0.0%" else f"{_plus_minus(share)}{shown}"


def _was_found(row: dict[str, Any]) -> bool:
    return bool(row.get("count") or row["dropped"])


def _word(names: dict[str, str], name: str | None) -> str:
    return names.get(name or "", words.readable(name or ""))


def title(name: str) -> str:
    """Format a type of personal data: ip_address becomes IP address."""
    return _CAPITALS.sub(lambda found: found[0].upper(), name.replace("_", " "))


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{words.number(value, 2)}"
