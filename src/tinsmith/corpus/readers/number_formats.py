"""Show a number of a spreadsheet as its format does: dates, times, percents, currency, leading zeros."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache

# A section of a format: quoted text, an escaped character, padding, brackets, General, or a part of the pattern.
_TOKEN = re.compile(
    r'"[^"]*"?|\\.|_.|\*.|\[[^\]]*\]|General|AM/PM|A/P|E[+-]|y+|m+|d+|h+|s+(?:\.0+)?|b+|e+|[0#?]|.',
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)(-?[\d.]+)\]")
_COMPARE = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "=": lambda a, b: a == b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<>": lambda a, b: a != b,
}
_CURRENCY = re.compile(r"\[\$([^\]-]*)(?:-[^\]]*)?\]")
_ELAPSED = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_GENERAL = ("general", "@")
_DATE_PARTS = re.compile(r"[ymdhsbe]", re.IGNORECASE)
# The codes of formats that have a number alone. Their dates and currency depend on the country.
BUILT_IN = {
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    **dict.fromkeys((5, 6, 37, 38), "#,##0_);(#,##0)"),
    **dict.fromkeys((7, 8, 39, 40), "#,##0.00_);(#,##0.00)"),
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    **dict.fromkeys((14, 15, *range(27, 32), 36, *range(50, 59)), "yyyy-mm-dd"),
    16: "d-mmm",
    17: "mmm-yy",
    **dict.fromkeys((18, 20, 32), "h:mm"),
    **dict.fromkeys((19, 21, 33), "h:mm:ss"),
    22: "yyyy-mm-dd h:mm",
    **dict.fromkeys((41, 42), '_(#,##0_);_((#,##0);_("-"_);_(@_)'),
    **dict.fromkeys((43, 44), '_(#,##0.00_);_((#,##0.00);_("-"_);_(@_)'),
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    49: "@",
}
_DAY_SECONDS = 86_400
_LAST_DAY = 2_958_465  # 9999-12-31
_FALSE_LEAP_DAY = 60  # 1900-02-29, which spreadsheets count
_EPOCH = datetime.datetime(1899, 12, 30)
_EPOCH_1904 = datetime.datetime(1904, 1, 1)
_DIGITS = "0#?"
_FRACTION = re.compile(r"[0#?]/ ?[0-9#?]")
_EXACT = Context(prec=400)  # the largest number has 309 digits
_LARGEST_DENOMINATOR = 9999


@dataclass(frozen=True)
class Section:
    """One of the up to four sections of a format: its tokens, and the condition under which it applies."""

    tokens: tuple[str, ...]
    condition: tuple[str, float] | None
    is_date: bool
    is_general: bool


def show_number(value: float, code: str, *, from_1904: bool = False) -> str:
    """Return a number as a format code shows it. Dates are ISO 8601 and times have 24 hours, whatever their order."""
    if not math.isfinite(value):
        return show_general(value)
    section, signed = _choose(_sections(code), value)
    if not section.tokens or section.is_general:
        shown = show_general(value)
        return "".join(shown if token.lower() in _GENERAL else _literal(token) for token in section.tokens)
    if section.is_date:
        return _show_date(value, section.tokens, from_1904)
    shown = _show_pattern(abs(value), section.tokens)
    return f"-{shown}" if signed and value < 0 and any(char in "123456789" for char in shown) else shown


def show_text(text: str, code: str) -> str:
    """Return a text as a format code shows it: its fourth section, or one with `@`, may add to it or hide it."""
    sections = _sections(code)
    chosen = (
        sections[3] if len(sections) == 4 else next((each for each in sections if "@" in each.tokens), None)
    )
    if chosen is None:
        return text
    return "".join(text if token == "@" else _literal(token) for token in chosen.tokens)


def show_general(value: float) -> str:
    """Return a number without a format, with the 15 digits that spreadsheets keep."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    shown = f"{value:.15g}"
    if "e" in shown and 1e-9 < abs(value) < 1e20:
        return format(Decimal(shown), "f")
    return shown.upper()


@lru_cache(maxsize=1024)
def _sections(code: str) -> tuple[Section, ...]:
    sections: list[list[str]] = [[]]
    for token in _TOKEN.findall(code):
        if token == ";":
            sections.append([])
        else:
            sections[-1].append(token)
    return tuple(map(_section, sections[:4]))


def _section(tokens: Sequence[str]) -> Section:
    condition = next((found for token in tokens if (found := _CONDITION.fullmatch(token))), None)
    kept = tuple(
        token
        for token in tokens
        if not token.startswith("[") or _CURRENCY.fullmatch(token) or _ELAPSED.fullmatch(token)
    )
    is_date = any(
        _ELAPSED.fullmatch(token) or (_DATE_PARTS.match(token) and not _is_exponent(token)) for token in kept
    )
    return Section(
        kept,
        (condition[1], float(condition[2])) if condition else None,
        is_date,
        any(token.lower() in _GENERAL for token in kept),
    )


def _is_exponent(token: str) -> bool:
    return token.lower() in ("e+", "e-")


def _choose(sections: Sequence[Section], value: float) -> tuple[Section, bool]:
    """Return the section for a number, and whether it needs a minus sign of its own."""
    conditional = [each for each in sections[:3] if each.condition]
    for section in conditional:
        assert section.condition is not None
        sign, limit = section.condition
        if _COMPARE[sign](value, limit):
            return section, len(sections) == 1 or limit > 0
    if conditional:
        return next(
            (each for each in sections[:3] if not each.condition), Section(("General",), None, False, True)
        ), True
    if value < 0 and len(sections) > 1:
        return sections[1], False
    if value == 0 and len(sections) > 2:
        return sections[2], False
    return sections[0], True


def _literal(token: str) -> str:
    """Return the text of a token outside the pattern; padding and fill are a blank or nothing."""
    if token.startswith('"'):
        return token.strip('"')
    if token.startswith("\\"):
        return token[1:]
    if currency := _CURRENCY.fullmatch(token):
        return currency[1]
    if token.startswith(("_", "*")) and len(token) > 1:
        return " " if token[0] == "_" else ""
    return token


def _show_date(value: float, tokens: Sequence[str], from_1904: bool) -> str:
    parts = [token.lower() for token in tokens if _ELAPSED.fullmatch(token) or _DATE_PARTS.match(token)]
    elapsed = next((part for part in parts if part.startswith("[")), "")
    seconds_part = next((part for part in parts if part.strip("[]").startswith("s")), "")
    places = len(seconds_part.partition(".")[2])
    if elapsed:
        return _show_elapsed(value, elapsed, parts, places)
    if not 0 <= value <= _LAST_DAY + 1:
        return show_general(value)
    moment = _moment(value, from_1904, places)
    has_time = any(part[0] in "hs" for part in parts)
    months = [part for number, part in enumerate(parts) if part[0] == "m" and not _is_minute(parts, number)]
    days = [part for part in parts if part[0] == "d"]
    years = any(part[0] in "ye" for part in parts)
    # A number before the first day of the calendar is a time of day.
    date = "" if value < 1 and has_time else _show_day(moment, years, months, days)
    if not has_time:
        return date
    clock = moment.strftime("%H:%M:%S" if seconds_part or moment.second else "%H:%M")
    if places:
        clock += "." + f"{moment.microsecond:06d}"[:places]
    return f"{date} {clock}".strip()


def _is_minute(parts: Sequence[str], number: int) -> bool:
    """Return whether an `m` stands for minutes: it follows hours or precedes seconds."""
    before = parts[number - 1] if number else ""
    after = parts[number + 1] if number + 1 < len(parts) else ""
    return before.strip("[").startswith("h") or after.strip("[").startswith("s")


def _moment(value: float, from_1904: bool, places: int) -> datetime.datetime:
    days = value + (1 if not from_1904 and value < _FALSE_LEAP_DAY else 0)
    unit = 10 ** min(places, 6)
    ticks = round(days * _DAY_SECONDS * unit)
    epoch = _EPOCH_1904 if from_1904 else _EPOCH
    try:
        return epoch + datetime.timedelta(seconds=ticks // unit, microseconds=ticks % unit * (10**6 // unit))
    except OverflowError:
        return datetime.datetime.max


def _show_day(moment: datetime.datetime, years: bool, months: Sequence[str], days: Sequence[str]) -> str:
    named = [day for day in days if len(day) > 2]
    numbered = len(named) < len(days)
    if years:
        return moment.strftime("%Y-%m-%d" if numbered and months else "%Y-%m" if months else "%Y")
    if months and numbered:
        return moment.strftime("%m-%d")
    if months:
        return moment.strftime("%B") if len(months[0]) > 2 else str(moment.month)
    return moment.strftime("%A") if named else str(moment.day) if days else ""


def _show_elapsed(value: float, unit: str, parts: Sequence[str], places: int) -> str:
    ticks = round(abs(value) * _DAY_SECONDS * 10**places)
    seconds, rest = divmod(ticks, 10**places)
    fraction = f".{rest:0{places}d}" if places else ""
    sign = "-" if value < 0 and ticks else ""
    minutes = any(part[0] == "m" for part in parts)
    with_seconds = any(part[0] == "s" for part in parts)
    if unit[1] == "s":
        return f"{sign}{seconds}{fraction}"
    if unit[1] == "m":
        return f"{sign}{seconds // 60}" + (f":{seconds % 60:02d}{fraction}" if with_seconds else "")
    shown = f"{sign}{seconds // 3600}"
    shown += f":{seconds // 60 % 60:02d}" if minutes or with_seconds else ""
    return shown + (f":{seconds % 60:02d}{fraction}" if with_seconds else "")


def _show_pattern(value: float, tokens: Sequence[str]) -> str:
    if not any(token in _DIGITS for token in tokens):
        return " ".join("".join(map(_literal, tokens)).split())
    if "/" in tokens[1:-1] and _FRACTION.match("".join(tokens[tokens.index("/") - 1 :])):
        return _show_fraction(value, tokens)
    number = Decimal(repr(value)) * 100 ** list(tokens).count("%")
    exponent = next((place for place, token in enumerate(tokens) if _is_exponent(token)), None)
    if exponent is not None:
        return _show_scientific(number, tokens, exponent)
    return " ".join(_fill(number, tokens).split())


def _fill(number: Decimal, tokens: Sequence[str]) -> str:
    """Fill the digits of a number that is not negative into the places of a pattern."""
    places = [place for place, token in enumerate(tokens) if token in _DIGITS]
    point = next((place for place, token in enumerate(tokens) if token == "."), len(tokens))
    whole = [place for place in places if place < point]
    decimals = [place for place in places if place > point]
    # Commas right behind the last place of the whole or of all divide by a thousand each, others group the digits.
    scaling = (
        _commas(tokens, whole[-1]) + _commas(tokens, decimals[-1])
        if whole and decimals
        else _commas(tokens, places[-1])
    )
    grouped = "," in tokens[whole[0] : whole[-1]] if whole else False
    rounded = (number / 1000**scaling).quantize(Decimal(1).scaleb(-len(decimals)), ROUND_HALF_UP, _EXACT)
    digits, _, fraction = format(rounded, "f").partition(".")
    digits = digits.lstrip("0")
    shown: dict[int, str] = {}
    for index, place in enumerate(reversed(whole)):
        first = index == len(whole) - 1
        have = (
            digits[: len(digits) - index] if first else digits[len(digits) - index - 1 : len(digits) - index]
        )
        have = have if index < len(digits) else {"0": "0", "?": " ", "#": ""}[tokens[place]]
        shown[place] = _group(have, index) if grouped else have
    significant = max(
        (n for n, place in enumerate(decimals) if fraction[n] != "0" or tokens[place] == "0"), default=-1
    )
    for index, place in enumerate(decimals):
        shown[place] = fraction[index] if index <= significant else ""
    pieces = []
    for place, token in enumerate(tokens):
        if token == ",":
            continue
        if (
            place == point
            and significant < 0
            and not any(tokens[each] == "0" for each in decimals)
            and decimals
        ):
            continue
        pieces.append(shown[place] if place in shown else _literal(token))
    return "".join(pieces) if whole else digits + "".join(pieces)


def _commas(tokens: Sequence[str], place: int) -> int:
    return next((n for n, token in enumerate(tokens[place + 1 :]) if token != ","), len(tokens) - place - 1)


def _group(digits: str, index: int) -> str:
    """Return digits with a comma behind each that has a multiple of three digits on its right; `index` are there."""
    if not digits.strip():
        return digits
    after = range(index + len(digits) - 1, index - 1, -1)
    return "".join(digit + ("," if right and right % 3 == 0 else "") for digit, right in zip(digits, after))


def _show_scientific(number: Decimal, tokens: Sequence[str], exponent: int) -> str:
    mantissa, after = tokens[:exponent], tokens[exponent + 1 :]
    point = mantissa.index(".") if "." in mantissa else len(mantissa)
    wide = max(sum(token in _DIGITS for token in mantissa[:point]), 1)
    power = number.adjusted() // wide * wide if number else 0
    filled = _fill(number.scaleb(-power), mantissa)
    if number and len(filled.partition(".")[0]) > wide:
        power += wide
        filled = _fill(number.scaleb(-power), mantissa)
    width = sum(token in _DIGITS for token in after)
    sign = "-" if power < 0 else "+" if tokens[exponent].endswith("+") else ""
    rest = "".join(_literal(token) for token in after if token not in _DIGITS)
    return f"{filled}E{sign}{abs(power):0{width}d}{rest}".strip()


def _show_fraction(value: float, tokens: Sequence[str]) -> str:
    slash = tokens.index("/")
    before = [token for token in tokens[:slash] if token in _DIGITS or token == " "]
    mixed = " " in "".join(before).strip()
    fixed = "".join(token for token in tokens[slash + 1 :] if token.isdigit())
    width = sum(token in _DIGITS for token in tokens[slash + 1 :])
    whole, rest = divmod(Fraction(repr(value)), 1) if mixed else (0, Fraction(repr(value)))
    if fixed.strip("0"):
        denominator = int(fixed)
        numerator = round(rest * denominator)
    else:
        part = rest.limit_denominator(min(10**width - 1, _LARGEST_DENOMINATOR))
        numerator, denominator = part.numerator, part.denominator
    if mixed and numerator == denominator:
        whole, numerator = whole + 1, 0
    if mixed and not numerator:
        return str(whole)
    return f"{whole} {numerator}/{denominator}" if mixed and whole else f"{numerator}/{denominator}"
