"""The page on jobs lists each field of a job with its type, its default and its meaning, as the recipe has them."""

import shlex
import types
import typing
from typing import Any, Literal, get_args, get_origin

from typer.main import get_command

from helpers import ROOT
from tinsmith.cli import app
from tinsmith.recipe import JobConfig
from tinsmith.recipe.toml import toml_value

PAGE = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
NAMES = {str: "text", bool: "true or false", int: "whole number", float: "number", dict: "table"}


def kind_of(annotation: Any) -> str:
    """Return a type as a person reads it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return kind_of(inner[0])
    if origin is Literal:
        return ", ".join(value or '""' for value in inner)
    if origin is tuple:
        return "list of texts"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(kind_of, inner))
    return NAMES[origin or annotation]


def table() -> str:
    """Return the table of all fields."""
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, info in JobConfig.model_fields.items():
        default = "must be given" if info.is_required() else f"`{toml_value(info.default)}`"
        cells = [f"`{name}`", kind_of(info.annotation), default, info.description or ""]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def test_the_page_lists_every_field_as_the_recipe_has_it():
    assert table() in PAGE


def test_commands_of_the_page_can_be_pasted():
    commands = [line.strip() for line in PAGE.splitlines() if line.startswith("    tinsmith ")]
    assert len(commands) >= 6
    known = get_command(app).commands
    for line in commands:
        _, command, *words = shlex.split(line)
        # No placeholder is left, and what a shell would read is quoted.
        assert not any(word.isupper() for word in words), line
        assert not set("<>[]{}|*$") & set("".join(line.split("'")[::2])), line
        options = {option for each in known[command].params for option in each.opts}
        assert {word for word in words if word.startswith("-")} <= options, line
