"""Templates over the fields of a record or the metadata of a document, such as {category}."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

from tinsmith.base.errors import RecipeError

_FORMATTER = string.Formatter()
_MARKUP = re.compile(r"[.\[\]{}:!]")  # what has a meaning in a template, and so cannot stand in a name


def template_fields(role: str, template: str, *, where: str) -> list[str]:
    """Return the names in a template. `role` is what it is called in messages.

    Raises RecipeError for what is not a template, and for attributes and indices, which reach into objects.
    """
    try:
        parts = [part[1:] for part in _FORMATTER.parse(template) if part[1] is not None]
    except ValueError as error:
        raise RecipeError(
            f"the {role} is not a valid template ({error})",
            where=where,
            next_step="write {{ and }} for literal braces",
        ) from None
    for name, spec, conversion in parts:
        if not name or spec or conversion or name.isdigit() or set(name) & set(".[]"):
            raise RecipeError(
                f"the {role} has a format or index in {{{name}}}, which is not supported",
                where=where,
                next_step="write {key} alone",
            )
    return [name or "" for name, _, _ in parts]


def fill(template: str, fields: Mapping[str, Any]) -> str:
    """Fill a template that `template_fields` accepts; a field without a value, or that is not there, is empty."""
    empty = dict.fromkeys((part[1] or "" for part in _FORMATTER.parse(template)), "")
    return template.format(**{**empty, **readable(fields)})


def name_in_template(key: str) -> str:
    """Return how a template writes a field: `Sr. No.` as {Sr_ No_}, 2019 as {field_2019}."""
    name = _MARKUP.sub("_", key.strip())
    return f"field_{name}" if name.isdigit() else name


def readable(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that a template can use: texts, numbers, and lists of them joined by commas."""
    values: dict[str, str] = {}
    for key, value in fields.items():
        if isinstance(value, list) and value and all(isinstance(part, str | int | float) for part in value):
            values[name_in_template(key)] = ", ".join(map(str, value))
        elif isinstance(value, str | int | float) and str(value).strip():
            values[name_in_template(key)] = str(value).strip()
    return values
