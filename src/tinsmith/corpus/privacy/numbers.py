"""Rules for identifying numbers: each run of digits is classified by form, checksum and the words before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tinsmith.corpus.privacy import checks
from tinsmith.corpus.privacy.types import Span

# A plus sign or bracket, 7 to 25 digits with up to three separators between two of them, and an extension.
_RUN = re.compile(
    r"[+(0-9](?<![\w.,$€£#-][+(0-9])\(?(?>(?:[ .()/–‑-]{0,3}[0-9]){6,24})(?:\s{0,2}(?:x|ext\.?)\s{0,2}[0-9]{1,6})?(?![\w%]|[,.][0-9]|-\w)",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r"\s{0,2}(?:x|ext\.?)\s{0,2}[0-9]{1,6}$", re.IGNORECASE)
_DATE = re.compile(
    r"(?:1[89]|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}\b|\d{1,2}[-./]\d{1,2}[-./](?:1[89]|20)\d\d$|(?:1[89]|20)\d\d ?[–-] ?(?:1[89]|20)\d\d$"
)
_EMPLOYER = re.compile(r"\d{2}-\d{7}$")  # US employer identification number
_WINDOW = 60  # characters before a number that may hold its keyword


class _Rule(NamedTuple):
    """A pattern of the number, one of the words before it, if they matter, and a check of the digits."""

    name: str
    type: str
    form: re.Pattern[str]
    near: re.Pattern[str] | None
    check: Callable[[str], bool] | None


def _rule(
    name: str, type: str, form: str, near: str = "", check: Callable[[str], bool] | None = None
) -> _Rule:
    return _Rule(name, type, re.compile(form), re.compile(near) if near else None, check)


_PHONE_WORDS = (
    r"(?:phone|mobile|\bcell\b|\btel\b|tel[.:]|telephon|\bfax|\bcall(?: (?:me|us|him|her|them))?\b|\bdial\b|\bring\b|hotline|whatsapp|"
    r"\btext (?:me|us)|\boffice:|\bdesk:|answering at|messages? (?:on|to)|registered(?: number)? ?$|reach (?:me|us|him|her)|contact (?:me|us))"
)
_CARD_WORDS = r"\b(?:card|cc|visa|mastercard|amex|credit|debit)\b"
_RULES = (
    _rule("card", "payment_card", r"\d{12,19}$|\d{4}([ -]\d{4}){3}([ -]\d{3})?$|3\d{3}[ -]\d{6}[ -]\d{5}$", "", checks.payment_card),
    _rule("card_word", "payment_card", r"\d{13,19}$|\d{4}([ -]\d{4}){3}$", _CARD_WORDS + r".{0,30}$"),
    _rule("ssn", "us_ssn", r"\d{3}-\d{2}-\d{4}$", "", checks.us_ssn),
    _rule("ssn_word", "us_ssn", r"\d{3} ?\d{2} ?\d{4}$", r"\b(?:ssn|itin|social security)\b.{0,30}$", checks.us_ssn),
    _rule("nhs", "uk_nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}$", r"\bnhs\b", checks.uk_nhs),
    _rule("aadhaar", "in_aadhaar", r"\d{4}[ -]?\d{4}[ -]?\d{4}$", r"\b(?:aadh?aar|uidai|uid)\b", checks.in_aadhaar),
    _rule("insee", "fr_insee", r"[12] ?\d\d ?(0[1-9]|1[0-2]) ?\d\d ?\d{3} ?\d{3} ?\d\d$", "", checks.fr_insee),
    _rule("steuer_id", "de_tax_id", r"\d{2} ?\d{3} ?\d{3} ?\d{3}$", r"steuer|tax|\bid-?nr|\btin\b", checks.de_tax_id),
    _rule("bsn", "nl_bsn", r"\d{9}$|\d{4}\.\d{2}\.\d{3}$|\d{3} \d{3} \d{3}$", r"\bbsn\b|burgerservice|sofi", checks.nl_bsn),
    _rule("routing", "bank_account", r"\d{9}$|\d{4}-\d{4}-\d$", r"\b(?:routing|aba|rtn|transit)\b", checks.aba_routing),
    _rule("sort_code", "bank_account", r"\d{2}-\d{2}-\d{2}$", r"sort code"),
    _rule("account", "bank_account", r"\d[\d -]{5,20}$", r"(?:\b(?:account|acct)[. ]{0,2}(?:number|no\b|num\b|nr\b|#|:|is\b)|\ba/c\b|kontonummer|bank account).{0,15}$"),
    _rule("international", "phone", r"\+\d{1,3}[\d .()/–‑-]{6,22}$"),
    _rule("us", "phone", r"(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}([.-]))[2-9]?\d{2,3}(?(1)\1|[ .-])\d{4}$"),
    _rule("trunk", "phone", r"\(?0\d{1,4}\)?[ .-]\d{2,4}(?:[ .-]\d{2,4}){1,4}$", r"^(?!.*(?:\$|%|\bcusip\b|\bno\.|\bnumber)).*$"),
    _rule("word", "phone", r"[\d .()/–‑-]+$", _PHONE_WORDS),
    _rule("grouped", "phone", r"\(?(?:0\d+\)?[ ./-]{1,2}\d+|\d+\)?(?:[ ./-]{1,2}\d+){2,4})$", "", checks.grouped_phone),
)  # fmt: skip


def find_numbers(text: str, lower: str) -> Iterator[Span]:
    """Yield each run of digits that identifies somebody, by the first rule that fits."""
    for match in _RUN.finditer(text):
        start, end = match.span()
        run = match.group()
        if run[0] == "(" and ")" not in run:
            start, run = start + 1, run[1:]
        if (rule := _classify(run, lower[max(0, start - _WINDOW) : start])) is not None:
            yield Span(start, end, rule.type, rule.name)


def _classify(run: str, words: str) -> _Rule | None:
    extension = _EXTENSION.search(run)
    run = run[: extension.start()] if extension else run
    words = words.replace("\n", " ")
    for rule in _RULES:
        if (
            rule.form.match(run)
            and (rule.near is None or rule.near.search(words))
            and (rule.type != "phone" or _may_be_phone(run))
            and (rule.check is None or rule.check(run))
        ):
            return rule
    return None


def _may_be_phone(run: str) -> bool:
    digits = checks.digits_of(run)
    return (
        7 <= len(digits) <= 15 and len(set(digits)) > 1 and not _DATE.match(run) and not _EMPLOYER.match(run)
    )
