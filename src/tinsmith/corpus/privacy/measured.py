"""Measured recall and precision of the privacy rules, valid only for the code that was measured.

`python -m benchmarks privacy --keep` writes `measured.json` beside this file.
"""

from __future__ import annotations

import ast
import json
from importlib.resources import files
from typing import Any

from tinsmith.base.files import sha256_json

FILE = "measured.json"
_MODULES = "fold checks rules credentials personal cards numbers names addresses recogniser find".split()


def measured(recogniser: str) -> dict[str, Any] | None:
    """Return `types` ({type: {recall, precision, true}}), `recogniser` and `text`, or None where not measured.

    `recogniser` is the one of the recipe, empty for rules alone.
    """
    facts = json.loads(_read(FILE))
    if facts["rules"] != rules_hash():
        return None
    figures: dict[str, Any] | None = facts["recognisers"].get(recogniser)
    return figures and {"recogniser": recogniser, "text": facts["text"], **figures}


def rules_hash() -> str:
    """Return a hash of the code that finds; comments, docstrings and formatting do not count."""
    return sha256_json([syntax(_read(f"{module}.py")) for module in _MODULES])[:16]


def syntax(source: str) -> Any:
    """Return the syntax tree of a module as JSON, the same for every supported version of Python."""
    return _to_json(ast.parse(source))


def _to_json(node: Any) -> Any:
    # Not ast.dump: Python 3.12 added fields to the nodes, which are empty in code that 3.11 can read.
    if isinstance(node, list):
        return [_to_json(item) for item in node if not _is_docstring(item)]
    if isinstance(node, ast.AST):
        fields = {name: _to_json(value) for name, value in ast.iter_fields(node)}
        return [
            type(node).__name__,
            {name: value for name, value in fields.items() if value not in (None, [])},
        ]
    return node if isinstance(node, str | int | float | None) else repr(node)


def _is_docstring(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
