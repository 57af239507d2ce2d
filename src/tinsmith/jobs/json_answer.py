"""Answers in JSON: the part of JSON Schema that a grammar holds, its grammar, and whether a value fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.jobs.grammar import literal
from tinsmith.recipe.formula_values import shown, to_value

Schema = Mapping[str, Any]

# Keywords that change no value, and by type those that are held.
NOTES = frozenset({"title", "description", "$schema", "$id", "$comment", "examples", "default"})
_HELD = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength"}),
    "integer": frozenset({"minimum", "maximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "multipleOf"}),
    "boolean": frozenset(),
    "null": frozenset(),
}
MAX_DEPTH = 8
MOST_CHOICES = 200  # so many whole numbers are listed; of more, the grammar holds the number of figures
_FIGURES = 15  # of a number without bounds, before the point and behind it
_COMMA = ' ", " '
_CHARACTER = r'([^"\\\x00-\x1f\x7f] | "\\" ["\\/bfnrt])'


def check_schema(schema: Schema, where: str, depth: int = 0) -> None:
    """Raise RecipeError, with the path, for what the grammar cannot hold."""
    if not isinstance(schema, Mapping):
        raise _refused(where, "it is not a table")
    if depth > MAX_DEPTH:
        raise _refused(where, f"it is nested more than {MAX_DEPTH} deep")
    if choices := schema.get("enum"):
        if not isinstance(choices, Sequence) or isinstance(choices, str):
            raise _refused(f"{where}.enum", "it is not a list")
        kept = frozenset({"enum", "type"})
    else:
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _HELD:
            raise _refused(f"{where}.type", f"{kind!r} is none of {', '.join(_HELD)}")
        kept = _HELD[kind] | {"type"}
    if unknown := sorted(schema.keys() - kept - NOTES):
        raise _refused(f"{where}.{unknown[0]}", "the grammar cannot hold it")
    if schema.get("additionalProperties"):
        raise _refused(f"{where}.additionalProperties", "the grammar cannot hold fields without a name")
    if schema.get("type") == "object":
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            raise _refused(f"{where}.properties", "it names no field")
        for name, part in properties.items():
            check_schema(part, f"{where}.properties.{name}", depth + 1)
    if schema.get("type") == "array":
        check_schema(schema.get("items", {}), f"{where}.items", depth + 1)


def json_grammar(schema: Schema) -> str:
    """Return the grammar (GBNF) of a value on one line, its fields in the schema's order, spaced as `json_text` does.

    A field that is not required may be null, which `read_json_answer` reads as left out.
    """
    return f'root ::= " " {_rule(schema)} "\\n"\n'


def json_text(value: Any, schema: Schema) -> str:
    """Write a value that fits as the one line that the grammar holds."""
    if schema.get("type") == "object" and isinstance(value, Mapping):
        properties: Mapping[str, Schema] = schema["properties"]
        parts = [f"{_quoted(name)}: {json_text(value.get(name), part)}" for name, part in properties.items()]
        return f"{{{', '.join(parts)}}}"
    if schema.get("type") == "array" and isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(json_text(each, schema['items']) for each in value)}]"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return json.dumps(value, ensure_ascii=False)


def read_json_answer(text: str, schema: Schema) -> Any:
    """Read an answer. Raises ValueError that says why it is not JSON, or not of the schema."""
    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    value = _without_nulls(value, schema)
    if why := next(_faults(value, schema, ""), ""):
        raise ValueError(why)
    return value


def _rule(schema: Schema) -> str:
    """Return the right side of the grammar's rule for a value."""
    if choices := _choices(schema):
        return f"({' | '.join(literal(json.dumps(choice, ensure_ascii=False)) for choice in choices)})"
    match schema["type"]:
        case "object":
            parts = (
                f"{literal(f'{_quoted(name)}: ')} {_rule(part)}"
                if name in _required(schema)
                else f"{literal(f'{_quoted(name)}: ')} ({_rule(part)} | {literal('null')})"
                for name, part in schema["properties"].items()
            )
            return f"{literal('{')} {_COMMA.join(parts)} {literal('}')}"
        case "array":
            return _list_rule(_rule(schema["items"]), schema.get("minItems", 0), schema.get("maxItems"))
        case "string":
            low, high = schema.get("minLength", 0), schema.get("maxLength", "")
            return rf'"\"" {_CHARACTER}{{{low},{high}}} "\""'
        case "boolean":
            return '("true" | "false")'
        case "null":
            return '"null"'
    bounds = [schema.get("minimum", -(10**_FIGURES) + 1), schema.get("maximum", 10**_FIGURES - 1)]
    sign = '"-"? ' if bounds[0] < 0 else ""
    figures = len(str(int(max(map(abs, bounds)))))
    fraction = f' ("." [0-9]{{1,{_FIGURES}}})?' if schema["type"] == "number" else ""
    return f'{sign}("0" | [1-9] [0-9]{{0,{figures - 1}}}){fraction}'


def _list_rule(element: str, least: int, most: int | None) -> str:
    """Return the rule of a list between brackets; GBNF counts repetitions as {m,n}."""
    more = f"({_COMMA}{element}){{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
    full = f"{element} {more}"
    inner = "" if most == 0 else full if least else f"({full})?"
    return f"{literal('[')} {inner} {literal(']')}"


def _choices(schema: Schema) -> Sequence[Any]:
    """Return the values of an enumeration, or of whole numbers within few steps; else none."""
    if "enum" in schema:
        return schema["enum"]
    if schema["type"] == "integer" and "minimum" in schema and "maximum" in schema:
        step = schema.get("multipleOf", 1)
        low, high = schema["minimum"], schema["maximum"]
        if type(step) is type(low) is type(high) is int and (high - low) // step < MOST_CHOICES:
            return range(-(-low // step) * step, high + 1, step)
    return ()


def _required(schema: Schema) -> Sequence[str]:
    """Return the fields that an object has to have: all, where the schema does not say."""
    return schema.get("required", list(schema["properties"]))


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a field stands twice")
    return dict(pairs)


def _without_nulls(value: Any, schema: Schema) -> Any:
    """Leave out fields that need not be there and are null."""
    if schema.get("type") == "object" and isinstance(value, dict):
        parts = schema["properties"]
        return {
            name: _without_nulls(each, parts.get(name, {}))
            for name, each in value.items()
            if each is not None or name in _required(schema)
        }
    return value


def _faults(value: Any, schema: Schema, place: str) -> Iterator[str]:
    """Yield where and how a value is not what the schema says."""
    said = f"{place or 'it'} is {shown(to_value(value))}"
    if "enum" in schema:
        if value not in schema["enum"]:
            yield f"{said}, none of {', '.join(map(str, schema['enum']))}"
        return
    if not _IS[schema["type"]](value):
        yield f"{said}, not of type {schema['type']}"
        return
    if isinstance(value, dict):
        properties = schema["properties"]
        for name in dict.fromkeys((*properties, *value)):
            inner = f"{place}.{name}" if place else name
            if name not in properties:
                yield f"{inner} is not a field"
            elif name in value:
                yield from _faults(value[name], properties[name], inner)
            elif name in _required(schema):
                yield f"{inner} is missing"
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{place or 'it'} has {len(value)} values"
        for number, each in enumerate(value):
            yield from _faults(each, schema["items"], f"{place}[{number}]")
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{place or 'it'} has {len(value)} characters"
    elif schema["type"] in ("integer", "number"):
        number_, step = to_value(value), schema.get("multipleOf")
        if not to_value(schema.get("minimum", value)) <= number_ <= to_value(schema.get("maximum", value)):
            yield f"{said}, out of its bounds"
        if step and number_ % to_value(step):
            yield f"{said}, not a multiple of {step}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


_IS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _refused(where: str, why: str) -> RecipeError:
    return RecipeError(
        why,
        where=where,
        next_step="use type, enum, properties, required, items, and bounds: minimum, maximum, multipleOf, minLength, "
        "maxLength, minItems, maxItems",
    )
