"""Checks of a job: judge an answer by the recipe's formulas, ask again where it breaks one, then withhold it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.base.numerals import missing_numbers
from tinsmith.jobs.ask import Result
from tinsmith.jobs.json_answer import Schema, check_schema, read_json_answer
from tinsmith.jobs.schema import read_schema
from tinsmith.recipe import JobConfig
from tinsmith.recipe.formula_values import FormulaError, Value, as_sources, field_value, to_value
from tinsmith.recipe.formulas import Formula, read_formula
from tinsmith.tokens.templates import name_in_template, template_fields

Row = dict[str, Any]
# What every formula may read beside the fields of the answer and of the record.
GIVEN = ("input", "output", "record", "answer")


class Checks:
    """The checks of a job, ready to judge answers. Raises RecipeError for a short form that is not clear.

    A formula reads the fields of the answer (with a schema) and of the record, `input` and `output` (the texts), and
    `record["a name"]`, `answer["a name"]`. Of equal names, that of the answer counts. A field that an answer leaves out
    is nothing. A record's field that is a number alone counts as that number.
    """

    def __init__(self, config: JobConfig) -> None:
        self.config, self.where = config, f"jobs.{config.name}.checks"
        self.schema: Schema | None = read_schema(config) if config.json_schema else None
        if self.schema and config.kind == "write":
            check_schema(self.schema, f"jobs.{config.name}.json_schema")
        parts: Mapping[str, Schema] = (self.schema or {}).get("properties", {})
        self.fields = tuple(parts) or (("quote",) if config.kind == "answer" else ())
        lists = [name for name, part in parts.items() if part.get("type") in ("array", "object")]
        known = {*self.fields, *GIVEN, *self._template_fields("input")}
        self.formulas = [self._formula(check, known, lists) for check in config.checks]
        self.judged, self.held = 0, Counter[str]()
        self._why: dict[str, str] = {}  # why a check did not hold, the last time

    def _template_fields(self, role: str) -> list[str]:
        return template_fields(role, getattr(self.config, role), where=f"jobs.{self.config.name}")

    def _formula(self, check: str, known: set[str], lists: Sequence[str]) -> Formula:
        try:
            return read_formula(check).written_out(sorted(known), lists)
        except FormulaError as error:
            raise RecipeError(
                f"{check!r}: {error}", where=self.where, next_step="name a list of the answer"
            ) from None

    def check_names(self, record: Sequence[str]) -> None:
        """Raise RecipeError for a formula that reads what neither the answer nor a record with these fields has.

        A field that stands in `answer` alone is refused as well: a new record does not have it.
        """
        only_answer = set(self._template_fields("answer")) - set(self._template_fields("input"))
        known = {*self.fields, *GIVEN, *(set(map(name_in_template, record)) - only_answer)}
        for formula in self.formulas:
            for name in sorted(formula.names - known):
                why = "is the right answer, which new records lack" if name in only_answer else "is not known"
                raise RecipeError(
                    f"{formula.source!r}: {name!r} {why}",
                    where=self.where,
                    next_step=f"use {', '.join(sorted(known))}",
                )

    def broken(self, row: Row, answer: Any) -> str:
        """Return why an answer breaks the schema or a check, naming each, or "" where it breaks none."""
        if not self.formulas and self.schema is None:
            return ""
        try:
            names = self.names(row, answer)
        except ValueError as error:
            return f"the answer cannot be read: {error}"
        reasons = []
        self.judged += 1
        for formula in self.formulas:
            why = formula.why_not(names)
            self.held[formula.source] += why is None
            if why is not None:
                self._why[formula.source] = why
                reasons.append(f"{formula.source} does not hold" + (f": {why}" if why else ""))
        return "; ".join(reasons)

    def refuse_never_held(self) -> None:
        """Raise RecipeError for a check that none of the answers judged so far has satisfied."""
        for formula in self.formulas:
            if self.judged and not self.held[formula.source]:
                why = self._why[formula.source]
                raise RecipeError(
                    f"{formula.source!r} holds for none of the {self.judged} examples"
                    + (f": {why}" if why else ""),
                    where=self.where,
                    next_step="correct the check, or the examples; every answer would be withheld",
                )

    def names(self, row: Row, answer: Any) -> dict[str, Value]:
        """Return what the formulas read. Raises ValueError for an answer in JSON that is not of the schema."""
        fields, output = self._parts(answer)
        return {
            **_of_record(row),
            **dict.fromkeys(self.fields),
            **fields,
            "output": output,
            "answer": fields or output,
        }

    def number_sources(self, row: Row) -> list[str | Fraction] | None:
        """Return where the numbers of the output may come from by a check numbers_in(output, ...); None without one."""
        names = _of_record(row)
        for formula in self.formulas:
            for part in formula.conjuncts():
                arguments = part.arguments_of("numbers_in")
                if not arguments or arguments[0].source != "output":
                    continue
                try:
                    return as_sources(arguments[1].value(names))
                except (
                    FormulaError
                ):  # it reads the output, or the record lacks a field, which `broken` then tells
                    continue
        return None

    def invented(self, row: Row, output: str) -> list[str] | None:
        """Return the numbers of an output that a check says it may not hold; None where no check says so."""
        sources = self.number_sources(row)
        return None if sources is None else missing_numbers(output, sources)

    def _parts(self, answer: Any) -> tuple[dict[str, Value], str]:
        """Return the fields of an answer, and its text."""
        if self.config.kind == "write" and self.schema:
            value = to_value(read_json_answer(answer, self.schema))
            return (value if isinstance(value, dict) else {}), answer
        if self.config.kind == "extract":
            fields = {name: [field_value(span) for span in spans] for name, spans in answer.items()}
            several = {name for name in fields if self._is_list(name)}
            return {
                name: spans if name in several else (spans or [None])[0] for name, spans in fields.items()
            }, ""
        if self.config.kind == "answer":
            return {"quote": (answer or {}).get("quote") or None}, (answer or {}).get("answer", "")
        return {}, ", ".join(answer) if isinstance(answer, list) else answer

    def _is_list(self, name: str) -> bool:
        return (self.schema or {})["properties"].get(name, {}).get("type") == "array"


def _of_record(row: Row) -> dict[str, Value]:
    """Return what formulas read of a row without its answer; fields by the names that templates give them."""
    record = {name: field_value(given) for name, given in row.get("record", {}).items()}
    fields = {name_in_template(name): value for name, value in record.items()}
    return {**fields, "record": record, "input": row["input"]}


def settle(
    checks: Checks, rows: Sequence[Row], ask: Callable[[Sequence[Row], int], Sequence[Result]]
) -> list[Result]:
    """Ask about each row until its answer breaks no check, at most `tries` times; then withhold it with the reason.

    `ask` takes the rows that are still open and the number of the attempt; the first, 0, is the likeliest answer. A
    withheld result holds no answer. One that its kind withholds, such as a text without an end, is asked for again too.
    """
    found: list[Result] = [Result(None, None)] * len(rows)
    waiting = list(range(len(rows)))
    for attempt in range(checks.config.tries):
        results = ask([rows[number] for number in waiting], attempt)
        broken = []
        for number, result in zip(waiting, results, strict=True):
            why = result.withheld or checks.broken(rows[number], result.answer)
            if why:
                broken.append(number)
                result = replace(result, answer=None, fields={}, withheld=why)
            found[number] = replace(result, tries=attempt + 1)
        waiting = broken
        if not waiting:
            break
    return found
