"""What a job makes of a record: the input that it reads, the answer that is right, and the group of the record."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.spans import FoldedText, fold
from tinsmith.recipe import JobConfig
from tinsmith.tokens.templates import fill, name_in_template, readable, template_fields

_BETWEEN = re.compile(r"[;|]")  # labels of a text that has several
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_SHOWN_FIELDS, _SHOWN_SPAN = 20, 80


class NoExample(Exception):
    """A record gives no example: reason and detail."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Rendering:
    """The templates of a job. Raises RecipeError for one that cannot be read."""

    def __init__(self, config: JobConfig) -> None:
        self.config, self.where = config, f"jobs.{config.name}"
        templates = {
            "input": config.input,
            "question": config.asked,
            "answer": config.answer,
            "group": config.group,
        }
        self.fields = {
            role: template_fields(role, template, where=self.where) for role, template in templates.items()
        }
        if config.kind == "extract":
            self.fields["schema"] = [name_in_template(field.name) for field in fields_of(config)]
        if not self.fields["input"]:
            raise RecipeError(
                "the input names no field, so that every input is the same",
                where=self.where,
                next_step="write a field such as {text}",
            )
        if config.answer and not self.fields["answer"]:
            raise RecipeError(
                "the answer names no field, so that every answer is the same",
                where=self.where,
                next_step="write a field such as {label}",
            )

    def input(self, record: Mapping[str, Any]) -> str:
        """Return the text that the model reads; a field without a value is empty. Raises NoExample if all are."""
        if not self._has_any("input", record):
            raise NoExample("empty_input", f"no text in {', '.join(self.fields['input'])}")
        return fill(self.config.input, record).strip()

    def question(self, record: Mapping[str, Any]) -> str:
        """Return the question about a record. Raises NoExample if no field of it has a value."""
        if self.fields["question"] and not self._has_any("question", record):
            raise NoExample("empty_question", f"no text in {', '.join(self.fields['question'])}")
        return fill(self.config.asked, record)

    def asked(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row that a model is asked. Raises NoExample for a record without an input or a question."""
        self.question(record)
        return {"input": self.input(record), "record": dict(record)}

    def group(self, record: Mapping[str, Any]) -> str:
        """Return the group of a record, empty where it has none."""
        return fill(self.config.group, record).strip() if self._has_any("group", record) else ""

    def text_answer(self, record: Mapping[str, Any]) -> str:
        """Return the answer as one text, empty where the record has none."""
        return fill(self.config.answer, record).strip() if self._has_any("answer", record) else ""

    def quote(self, record: Mapping[str, Any]) -> str:
        """Return the passage that an answer rests on, empty where the record has none."""
        return readable(record).get("quote", "")

    def labels(self, record: Mapping[str, Any]) -> list[str]:
        """Return the labels of a record, white space folded; [] where it has none. `several` allows more than one.

        Of several fields that say yes or no, such as 1 and 0, the labels are the names of those that say yes. Commas
        part labels where the recipe lists each of them.
        """
        text = self.text_answer(record)
        if not self.config.several:
            return [fold(text)] if text else []
        if (flags := self._flags(record)) is not None:
            return flags
        whole = self.fields["answer"][0] if len(self.fields["answer"]) == 1 else ""
        value = next((value for key, value in record.items() if name_in_template(key) == whole), None)
        labels = split_labels(text, value if isinstance(value, list) else None)
        return [part for label in labels for part in self._at_commas(label)]

    def _flags(self, record: Mapping[str, Any]) -> list[str] | None:
        """Return the names of the answer's fields that say yes; None for one field, or fields that hold labels."""
        names, values = self.fields["answer"], readable(record)
        said = {name: values.get(name, "0").casefold() for name in names}
        if len(names) < 2 or not FLAGS.keys() >= set(said.values()):
            return None
        return [name for name in names if FLAGS[said[name]]]

    def _at_commas(self, label: str) -> list[str]:
        """Part a label at its commas if it is not one of the recipe's and its parts all are."""
        known = {fold(each).casefold() for each in self.config.labels}
        parts = at_commas(label)
        return (
            parts
            if label.casefold() not in known and {each.casefold() for each in parts} <= known
            else [label]
        )

    def spans(self, record: Mapping[str, Any], text: str) -> tuple[dict[str, list[str]], list[str]]:
        """Return the values of each field of the schema as the text writes them, and those that it does not hold.

        A value is a text, a list of texts or a list as JSON; white space and case need not be the text's. Raises
        NoExample where the text holds none of a field's values: to learn "none" from it would be wrong.
        """
        folded, found, missing = FoldedText(text), {}, []
        for field in fields_of(self.config):
            value = record.get(field.name)
            listed = value if isinstance(value, list) else as_list(str(value or "")) or [value]
            wanted = [span for each in listed if each is not None and (span := fold(str(each)))]
            held = {span: folded.find(span) for span in wanted}
            found[field.name] = list(dict.fromkeys(place for place in held.values() if place))
            lost = [f"{field.name}: {span[:_SHOWN_SPAN]}" for span, place in held.items() if not place]
            if lost and not found[field.name]:
                raise NoExample("span_not_in_text", lost[0])
            missing += lost
        return found, missing

    def check_fields(
        self, known: Collection[str], *, source: str, roles: Collection[str] | None = None
    ) -> None:
        """Raise RecipeError for a field that no record has. `known` are the fields of all records."""
        usable = [name_in_template(name) for name in known]
        for role, names in self.fields.items():
            for name in names if roles is None or role in roles else ():
                if name not in usable:
                    near = difflib.get_close_matches(name, usable, n=1, cutoff=0.5)
                    more = f" and {len(usable) - _SHOWN_FIELDS} more" if len(usable) > _SHOWN_FIELDS else ""
                    there = ", ".join(f"{{{each}}}" for each in usable[:_SHOWN_FIELDS]) + more
                    raise RecipeError(
                        f"the {role} uses {{{name}}}, which no record of {source} has"
                        + (f"; did you mean {{{near[0]}}}?" if near else ""),
                        where=self.where,
                        next_step=f"use one of the fields: {there or 'there are none'}",
                    )

    def _has_any(self, role: str, record: Mapping[str, Any]) -> bool:
        """Say whether a record has a value for one of the fields of a template."""
        values = readable(record)
        return any(name in values for name in self.fields[role])


def split_labels(text: str, listed: list[Any] | None = None) -> list[str]:
    """Return the labels in a cell: the members of a list, or what stands between marks; white space folded."""
    members = as_list(text) if listed is None else listed
    parts = _BETWEEN.split(text) if members is None else [str(part) for part in members]
    return list(dict.fromkeys(label for part in parts if (label := fold(part))))


def at_commas(text: str) -> list[str]:
    """Return what stands between the commas of a cell, white space folded."""
    return [part for each in text.split(",") if (part := fold(each))]


def as_list(text: str) -> list[Any] | None:
    """Return the members of a list that a cell holds as JSON, or None where it holds none."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None
