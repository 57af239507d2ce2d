"""Normalised values of spans: dates as ISO 8601, numbers, money, booleans, enums. What is in doubt has no value."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from tinsmith.jobs.schema import Field

MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_MONTH = "|".join(f"{month[:3]}(?:{month[3:]}|t)?" for month in MONTHS)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
DATES = tuple(
    re.compile(rf"(?<!\w){form}(?!\w)", re.IGNORECASE)
    for form in (
        rf"{_YEAR}-(?P<month>\d\d)-(?P<day>\d\d)",
        rf"(?P<month>{_MONTH})\.?\s+{_DAY}\s*,?\s+{_YEAR}",
        rf"{_DAY}\s+(?:day\s+)?(?:of\s+)?(?P<month>{_MONTH})\.?\s*,?\s+{_YEAR}",
    )
)
SLASHED = re.compile(r"(?<![\w/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?![\w/-])")
NUMBER = re.compile(
    r"(?<![\w.,])(?P<open>\(\s*)?(?P<sign>[-−]\s*)?(?P<digits>\d[\d,.]*)(?P<close>\s*%?\s*\))?"
    r"(?:\s*(?P<multiple>hundred|thousand|million|billion|trillion)s?(?!\w))?",
    re.IGNORECASE,
)
ENGLISH = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?|\d+\.\d+|\d+")  # a comma before three digits parts thousands
CONTINENTAL = re.compile(r"\d{1,3}(\.\d{3})+,\d+|\d{1,3}(\.\d{3}){2,}|\d+,\d+")
EITHER = re.compile(r"[1-9]\d{0,2}\.\d{3}")  # 1.234: a fraction, or a thousand and more
MULTIPLES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
CURRENCIES = re.compile(
    r"US\$|[A-Z]{1,2}\$|[$€£¥]|(?<![A-Za-z])(?:USD|EUR|GBP|JPY|CHF|CNY|RMB|CAD|AUD|HKD|SGD|INR|SEK|NOK|DKK)(?![A-Za-z])"
)
CODES = {
    "US$": "USD",
    "€": "EUR",
    "£": "GBP",
    "RMB": "CNY",
}  # $ and ¥ are those of several countries: kept as written
YES, NO = {"yes", "true"}, {"no", "false"}


def normalise(field: Field, span: str) -> tuple[Any, str]:
    """Return what a span says in the field's type, or None and the reason. A plain string has none but itself."""
    if field.enum:
        match = [choice for choice in field.enum if str(choice).casefold() == span.casefold()]
        return (match[0], "") if len(match) == 1 else (None, "none of the schema's values")
    if field.format == "date":
        return read_date(span)
    if field.format == "money":
        return read_money(span)
    if field.type in ("number", "integer"):
        number, note = read_number(span)
        if number is not None and field.type == "integer":
            return (int(number), "") if number == int(number) else (None, "not a whole number")
        return number, note
    if field.type == "boolean":
        word = span.strip(" .").casefold()
        return (word in YES, "") if word in YES | NO else (None, "neither yes nor no")
    return None, ""


def read_date(span: str) -> tuple[str | None, str]:
    """Return the one date of a span as ISO 8601. Day and month are never guessed: 03/04/2015 has no value."""
    found: set[str] = set()
    doubt = ""
    for form in DATES:
        for match in form.finditer(span):
            month = match["month"]
            number = int(month) if month.isdigit() else _month(month)
            found |= _valid(int(match["year"]), number, int(match["day"]))
    for first, _, second, year in SLASHED.findall(span):
        either = _valid(int(year), int(first), int(second)) | _valid(int(year), int(second), int(first))
        if len(either) == 2:
            doubt = "day and month could be either way round"
        found |= either
    if len(found) == 1:
        return found.pop(), ""
    return None, doubt or ("several dates" if found else "not a whole date")


def read_number(span: str) -> tuple[float | None, str]:
    """Return the one number of a span; in words only million and the like after digits are read.

    (2,085) is negative, 12.5% is 12.5, and 1.234 has no value, since it can be read in two ways.
    """
    found = set()
    for match in NUMBER.finditer(span):
        number = _number(match["digits"].rstrip(".,"))
        if number is None:
            return None, f"{match['digits']} can be read in two ways"
        negative = match["sign"] or (
            match["open"] and match["close"] and span.strip(" %") == match.group().strip(" %")
        )
        number *= MULTIPLES[match["multiple"].lower()] if match["multiple"] else 1
        found.add(round(-number if negative else number, 9))
    if len(found) == 1:
        return found.pop(), ""
    return None, "several numbers" if found else "no number"


def read_money(span: str) -> tuple[dict[str, Any] | None, str]:
    """Return amount and currency of a span; $ and ¥ stay signs, since several countries use them."""
    currencies = {CODES.get(sign, sign) for sign in CURRENCIES.findall(span)}
    amount, note = read_number(CURRENCIES.sub(" ", span))
    if amount is None:
        return None, note
    if len(currencies) != 1:
        return None, "several currencies" if currencies else "no currency"
    return {"amount": amount, "currency": currencies.pop()}, ""


def _number(digits: str) -> float | None:
    if ENGLISH.fullmatch(digits) and not EITHER.fullmatch(digits):
        return float(digits.replace(",", ""))
    if CONTINENTAL.fullmatch(digits):
        return float(digits.replace(".", "").replace(",", "."))
    return None


def _month(name: str) -> int:
    return 1 + next(number for number, month in enumerate(MONTHS) if month.startswith(name.lower()[:3]))


def _valid(year: int, month: int, day: int) -> set[str]:
    try:
        return {date(year, month, day).isoformat()}
    except ValueError:
        return set()
