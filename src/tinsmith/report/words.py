"""Numbers as people read them. Each function takes SI units and returns text; None becomes a dash."""

from __future__ import annotations

import math
from collections.abc import Sequence

DASH = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Write with a fixed number of decimals, thousands separated."""
    if value is None:
        return DASH
    text = f"{value:,.{digits}f}"
    # A rounded-away negative must not read as minus zero.
    return (text[1:] if text.startswith("-") and not text.strip("-0.,") else text).replace("-", "−")


def significant(value: float | None, digits: int = 2) -> str:
    """Write with so many significant digits, without exponent between 1e-6 and 1e15."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return number(round(value, decimals), min(decimals, 9))


def count(value: float | None) -> str:
    """Write a whole number, thousands separated."""
    return number(value, 0)


def percent(value: float | None, digits: int = 0) -> str:
    """Write a share as percent."""
    return DASH if value is None else f"{number(100 * value, digits)}%"


def span(low: float, high: float, digits: int = 3) -> str:
    """Write an interval."""
    return f"{number(low, digits)} to {number(high, digits)}"


def points(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{'+' if share > 0 else ''}{number(100 * share, 0)} points"


def scaled(value: float | None, steps: Sequence[tuple[float, str]], digits: int = 2) -> str:
    """Write with the largest unit that leaves at least 1."""
    if value is None:
        return DASH
    for factor, unit in steps:
        if abs(value) >= factor:
            return f"{significant(value / factor, digits)} {unit}"
    factor, unit = steps[-1]
    return f"{significant(value / factor, digits)} {unit}"


def size(value: float | None) -> str:
    """Write bytes."""
    return scaled(value, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")), 3)


def big(value: float | None) -> str:
    """Write a large count such as parameters or tokens."""
    return scaled(value, ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1, "")), 3).rstrip()


def energy(kwh: float | None) -> str:
    """Write kilowatt-hours."""
    return scaled(kwh, ((1e3, "MWh"), (1, "kWh"), (1e-3, "Wh"), (1e-6, "mWh")))


def mass(grams: float | None) -> str:
    """Write grams of CO2e."""
    return scaled(grams, ((1e6, "t"), (1e3, "kg"), (1, "g"), (1e-3, "mg")))


def money(value: float | None, currency: str) -> str:
    """Write an amount of money."""
    return DASH if value is None else f"{currency} {significant(value)}"


def duration(seconds: float | None) -> str:
    """Write seconds as seconds, minutes or hours."""
    if seconds is None:
        return DASH
    if seconds < 90:
        return f"{significant(seconds)} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def listing(parts: Sequence[str]) -> str:
    """Join as a sentence does: a, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def metric(name: str) -> str:
    """Write a metric's name in words."""
    text = name.replace(":", ", ").replace("_", " ")
    return text[:1].upper() + text[1:]
