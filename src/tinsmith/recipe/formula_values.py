"""Values of formulas, and the functions that formulas may call."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tinsmith.base.numerals import missing_numbers, number_of, numerals

# None, bool, Fraction, str, a list of values, or a dict of values by text. A dict counts as the list of its values.
Value = Any

MAX_PATTERN = 200
MAX_BITS = 1_000  # of a numerator or denominator: 300 figures


class FormulaError(ValueError):
    """A formula that cannot be read or evaluated: the message says why and where."""


def to_value(given: object) -> Value:
    """Return a value of JSON or Parquet as formulas read it. Raises FormulaError for a number that is not finite."""
    if given is None or isinstance(given, bool | str | Fraction):
        return given
    if isinstance(given, int):
        return bounded(Fraction(given))
    if isinstance(given, float | Decimal):
        try:
            return bounded(Fraction(repr(given) if isinstance(given, float) else str(given)))
        except ValueError:
            raise FormulaError(f"{given} is not a finite number") from None
    if isinstance(given, Mapping):
        return {str(name): to_value(value) for name, value in given.items()}
    if isinstance(given, Sequence):
        return [to_value(value) for value in given]
    return str(given)


def field_value(given: object) -> Value:
    """Return a field of a record: a text that is a number alone, as in CSV, counts as that number."""
    if isinstance(given, float) and not math.isfinite(given):
        return None  # how Parquet has a number that is not there
    number = number_of(given) if isinstance(given, str) else None
    return to_value(given) if number is None else number


def shown(value: Value) -> str:
    """Write a value for a person, at most 80 characters."""
    if isinstance(value, Fraction):
        text = str(value.numerator) if value.denominator == 1 else f"{float(value):.6g}"
    elif isinstance(value, list):
        text = f"[{', '.join(map(shown, value[:20]))}]"
    elif isinstance(value, dict):
        text = ", ".join(f"{name}: {shown(each)}" for name, each in list(value.items())[:20])
    else:
        text = {None: "nothing", True: "true", False: "false"}.get(value) or repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def kind_of(value: Value) -> str:
    kinds = {bool: "a number", Fraction: "a number", str: "a text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "nothing")


def as_number(value: Value, what: str) -> Fraction:
    if not isinstance(value, bool | Fraction):
        raise FormulaError(f"{what} needs a number, not {shown(value)}")
    return Fraction(value)


def bounded(number: Fraction) -> Fraction:
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
        raise FormulaError("a number becomes too large")
    return number


def as_list(value: Value, what: str) -> list[Value]:
    if isinstance(value, dict):
        return list(value.values())
    if not isinstance(value, list):
        raise FormulaError(f"{what} needs a list, not {shown(value)}")
    return value


def as_text(value: Value, what: str) -> str:
    if not isinstance(value, str):
        raise FormulaError(f"{what} needs a text, not {shown(value)}")
    return value


def element(whole: Value, index: Value) -> Value:
    if isinstance(whole, dict) and isinstance(index, str):
        if index not in whole:
            raise FormulaError(f"there is no {index!r}; there are {', '.join(whole) or 'none'}")
        return whole[index]
    elements, place = as_list(whole, "[ ]"), as_number(index, "[ ]")
    if place.denominator != 1 or not -len(elements) <= place < len(elements):
        raise FormulaError(f"there is no element {shown(place)} of {len(elements)}")
    return elements[int(place)]


# Functions


def _sum(values: Value) -> Fraction:
    total = Fraction(0)
    for value in as_list(values, "sum"):
        total = bounded(total + as_number(value, "sum"))
    return total


def _extreme(choose: Callable[..., Any], *values: Value) -> Value:
    elements = as_list(values[0], choose.__name__) if len(values) == 1 else list(values)
    if not elements:
        raise FormulaError(f"{choose.__name__} of an empty list")
    kinds = {kind_of(element) for element in elements}
    if kinds not in ({"a number"}, {"a text"}):
        raise FormulaError(f"{choose.__name__} needs numbers, or texts, not {shown(elements)}")
    return to_value(choose(elements))


def _length(value: Value) -> Fraction:
    if not isinstance(value, str | list | dict):
        raise FormulaError(f"len needs a text or a list, not {shown(value)}")
    return Fraction(len(value))


def _round(number: Value, digits: Value = Fraction(0)) -> Fraction:
    places = as_number(digits, "round")
    if places.denominator != 1 or abs(places) > 100:
        raise FormulaError("round takes up to 100 digits")
    return Fraction(round(as_number(number, "round"), int(places)))


def _words(text: Value) -> list[Value]:
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", as_text(text, "words"))


def _numbers(text: Value) -> list[Value]:
    return [numeral.value for numeral in numerals(as_text(text, "numbers"))]


def _names(whole: Value) -> list[Value]:
    if not isinstance(whole, dict):
        raise FormulaError(f"names needs an object, not {shown(whole)}")
    return list(whole)


def _numbers_in(text: Value, source: Value) -> bool:
    return not missing(text, source)


def missing(text: Value, source: Value) -> list[str]:
    """Return the numbers of a text, as written, that do not stand in the source: a text, a number or a list of them."""
    return missing_numbers(as_text(text, "numbers_in"), as_sources(source))


def as_sources(value: Value) -> list[str | Fraction]:
    """Return the texts and numbers that numbers_in compares with."""
    parts = value if isinstance(value, list) else [value]
    for part in parts:
        if kind_of(part) not in ("a number", "a text"):
            raise FormulaError(f"numbers_in needs texts and numbers, not {shown(part)}")
    return [part if isinstance(part, str) else Fraction(part) for part in parts]


def has_form(text: Value, pattern: str) -> bool:
    """Say whether the whole text has the form of a pattern, in the syntax of RE2, which takes linear time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(pattern) > MAX_PATTERN:
        raise FormulaError(f"the pattern has more than {MAX_PATTERN} characters")
    try:
        pc.match_substring_regex(
            pa.scalar(""), pattern=pattern
        )  # so that the pattern is whole before it is wrapped
        return bool(
            pc.match_substring_regex(
                pa.scalar(as_text(text, "matches")), pattern=rf"\A(?:{pattern})\z"
            ).as_py()
        )
    except pa.ArrowInvalid as error:
        raise FormulaError(f"the pattern {pattern!r} is not valid: {str(error).partition(': ')[2]}") from None


# By name: the fewest and the most values that it takes, and what it computes from them.
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Value]]] = {
    "sum": (1, 1, _sum),
    "min": (1, 20, lambda *values: _extreme(min, *values)),
    "max": (1, 20, lambda *values: _extreme(max, *values)),
    "len": (1, 1, _length),
    "abs": (1, 1, lambda number: abs(as_number(number, "abs"))),
    "round": (1, 2, _round),
    "all": (1, 1, lambda values: all(as_list(values, "all"))),
    "any": (1, 1, lambda values: any(as_list(values, "any"))),
    "numbers": (1, 1, _numbers),
    "words": (1, 1, _words),
    "names": (1, 1, _names),
    "matches": (2, 2, has_form),
    "numbers_in": (2, 2, _numbers_in),
}
