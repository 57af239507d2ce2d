"""The subset of JSON Schema that a job can hold: an object of named fields, each a scalar or a list of scalars."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.recipe import JobConfig

TYPES = ("string", "number", "integer", "boolean")
FORMATS = ("date", "money")  # money: an amount and its currency
NOTES = {"title", "description", "$schema", "$id", "$comment", "examples", "default"}  # they change no value
READ = {"type", "format", "enum", "items"} | NOTES


@dataclass(frozen=True)
class Field:
    """A field of an answer: how it is asked for, and what its values are."""

    name: str
    label: str = ""
    type: str = "string"
    format: str = ""
    enum: tuple[str | int | float, ...] = ()
    several: bool = False

    @property
    def question(self) -> str:
        """Return the question that asks for it."""
        return f"{self.label or self.name.replace('_', ' ').capitalize()}:"


def read_schema(config: JobConfig) -> dict[str, Any]:
    """Return a job's schema as a table, read from its file if it names one. Raises RecipeError if it is unreadable."""
    if isinstance(config.json_schema, dict):
        return config.json_schema
    where = f"jobs.{config.name}.json_schema"
    if not config.json_schema:
        raise RecipeError(
            "it is empty", where=where, next_step="name the fields of an answer, as a JSON Schema"
        )
    path = Path(config.json_schema).expanduser()
    try:
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(
            f"{path} cannot be read: {error}", where=where, next_step="name a file with a JSON Schema"
        ) from None
    if not isinstance(schema, dict):
        raise _refused(where, "it is not an object")
    return schema


def fields_of(config: JobConfig) -> tuple[Field, ...]:
    """Return the fields of a job's schema. Raises RecipeError, with the path, for what the grammar cannot hold."""
    where = f"jobs.{config.name}.json_schema"
    schema = read_schema(config)
    unknown = set(schema) - NOTES - {"type", "properties", "required", "additionalProperties"}
    if unknown:
        raise _refused(f"{where}.{min(unknown)}", "the grammar cannot hold it")
    if schema.get("type", "object") != "object" or not isinstance(schema.get("properties"), dict):
        raise _refused(where, "it is not an object with properties")
    if schema.get("additionalProperties"):
        raise _refused(f"{where}.additionalProperties", "the grammar cannot hold fields without a name")
    if not schema["properties"]:
        raise _refused(f"{where}.properties", "it names no field")
    return tuple(
        _field(name, part, f"{where}.properties.{name}") for name, part in schema["properties"].items()
    )


def _field(name: str, part: Any, where: str) -> Field:
    if not isinstance(part, Mapping):
        raise _refused(where, "it is not an object")
    several = part.get("type") == "array"
    value = part.get("items", {"type": "string"}) if several else part
    inner = f"{where}.items" if several else where
    if not isinstance(value, Mapping):
        raise _refused(inner, "it is not an object")
    for place, keys in ((where, set(part) - READ), (inner, set(value) - READ)):
        if keys:
            raise _refused(f"{place}.{min(keys)}", "the grammar cannot hold it")
    type_, form, enum = (
        _without_null(value.get("type", "string")),
        value.get("format", ""),
        value.get("enum", []),
    )
    if type_ not in TYPES:
        raise _refused(f"{inner}.type", f"{type_!r} is none of {', '.join(TYPES)}, array")
    if form and form not in FORMATS:
        raise _refused(f"{inner}.format", f"{form!r} is none of {', '.join(FORMATS)}")
    if not isinstance(enum, list) or not all(
        isinstance(item, str | int | float) and not isinstance(item, bool) for item in enum
    ):
        raise _refused(f"{inner}.enum", "it is not a list of strings or numbers")
    label = part.get("title") or part.get("description") or ""
    return Field(name, str(label).strip().rstrip(":"), type_, form, tuple(enum), several)


def _without_null(type_: Any) -> Any:
    """Read ["string", "null"] as "string": a text may always lack a field."""
    rest = [name for name in type_ if name != "null"] if isinstance(type_, list) else []
    return rest[0] if len(rest) == 1 else type_


def _refused(where: str, why: str) -> RecipeError:
    return RecipeError(
        why,
        where=where,
        next_step=f"use an object of fields of type {', '.join(TYPES)} or array of these, with format "
        f"{' or '.join(FORMATS)}, enum, title, description",
    )
