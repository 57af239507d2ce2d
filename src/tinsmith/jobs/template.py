"""Templates over the fields of a record, such as "{title}: {text}"."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

from tinsmith.base.errors import RecipeError


def template_fields(template: str) -> list[str]:
    """Return the fields that a template names, in order. Raises RecipeError for anything but plain {field}."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise _broken(template, str(error)) from None
    for _, name, form, conversion in parts:
        if name is not None and (form or conversion or not name):
            raise _broken(template, "a field is written as {name}")
    return [name for _, name, _, _ in parts if name is not None]


def render(template: str, record: Mapping[str, Any]) -> str:
    """Fill the fields of a record into a template; {{ and }} are braces, and an empty field stays empty.

    Raises RecipeError if the record lacks a field.
    """
    for name in template_fields(template):
        if name not in record:
            raise RecipeError(
                f"the record has no field {name!r}; it has {', '.join(map(repr, record)) or 'none'}",
                where=f"template {template!r}",
                next_step="name one of these, or write {{ and }} for braces",
            )
    return "".join(
        literal + ("" if name is None or record[name] is None else str(record[name]))
        for literal, name, _, _ in Formatter().parse(template)
    )


def _broken(template: str, why: str) -> RecipeError:
    return RecipeError(
        why, where=f"template {template!r}", next_step="write fields as {name}, and {{ and }} for braces"
    )
