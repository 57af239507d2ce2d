"""Numbers as people read them. Each function takes SI units and returns text; None becomes a dash."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from markupsafe import Markup, escape

from tinsmith.evidence.schema import MetricRow

DASH = "–"
# No milliwatt-hours: mWh is too easily read as MWh.
ENERGY = ((1e6, "GWh"), (1e3, "MWh"), (1.0, "kWh"), (1e-3, "Wh"))
MASS = ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"))


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


def setting(value: float) -> str:
    """Write a number as a person sets it: no more digits than it has, no exponent."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


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


def scaled_span(low: float, high: float, steps: Sequence[tuple[float, str]]) -> str:
    """Write an interval in one unit, the largest that leaves at least 1 of the upper end."""
    factor, unit = next((step for step in steps if abs(high) >= step[0]), steps[-1])
    return f"{significant(low / factor)} to {significant(high / factor)} {unit}"


def size(value: float | None) -> str:
    """Write bytes."""
    return scaled(value, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")), 3)


def big(value: float | None) -> str:
    """Write a large count such as parameters or tokens."""
    return scaled(value, ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1, "")), 3).rstrip()


def energy(kwh: float | None) -> str:
    """Write kilowatt-hours."""
    return scaled(kwh, ENERGY)


def energy_span(low: float, high: float) -> str:
    """Write an interval of kilowatt-hours."""
    return scaled_span(low, high, ENERGY)


def mass(grams: float | None) -> str:
    """Write grams of CO2e."""
    return scaled(grams, MASS)


def mass_span(low: float, high: float) -> str:
    """Write an interval of grams of CO2e."""
    return scaled_span(low, high, MASS)


def money(value: float | None, currency: str) -> str:
    """Write an amount of money; less than a hundredth of a cent as 'under'."""
    if value is None:
        return DASH
    return f"under {currency} 0.0001" if 0 < value < 1e-4 else f"{currency} {significant(value)}"


def money_span(low: float, high: float) -> str:
    """Write an interval of money without its currency; nothing where all of it is tiny."""
    return "" if high < 1e-4 else f"{significant(low)} to {significant(high)}"


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


def figure(value: float | None, unit: str) -> str:
    """Write a figure as its unit asks for: a share as percent, bits per byte with three decimals."""
    if unit == "share":
        return percent(value)
    return number(value) if unit == "bits/byte" else significant(value)


def difference(value: float | None, unit: str) -> str:
    """Write a difference of figures: of shares in percentage points."""
    return points(value) if unit == "share" and value is not None else figure(value, unit)


def readable(name: str) -> str:
    """Write a name of the product in words: 'no_text_layer' is 'No text layer'."""
    text = name.replace(":", ", ").replace("_", " ")
    return text[:1].upper() + text[1:]


def plural(amount: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count(amount)} {noun}{'' if amount == 1 else 's'}"


def quiet_asides(text: str) -> Markup:
    """Escape a sentence and mark what stands in brackets, so that the page can set it quietly."""
    return Markup(re.sub(r"\([^()]*\)", r'<span class="aside">\g<0></span>', str(escape(text))))


def share_span(row: MetricRow) -> str:
    """Write a share with its interval."""
    low, high = (row.value if bound is None else bound for bound in (row.low, row.high))
    return f"{percent(row.value)} ({percent(low)} to {percent(high)})"
