"""Rules for personal data of fixed form other than runs of digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinsmith.corpus.privacy import checks
from tinsmith.corpus.privacy.rules import Rule, rule
from tinsmith.corpus.privacy.types import Span

_TOP = (
    "com|org|net|edu|gov|mil|int|info|biz|io|co|ai|app|dev|me|us|uk|de|fr|es|it|nl|be|at|ch|se|no|dk|fi|pl|cz|hu|sk|si|pt|"
    "gr|ie|ru|ua|jp|cn|in|br|mx|ca|au|nz|za|eu"
)
_IS = r"(?:\s{1,3}(?:card|number|numbers|no\.?|num\.?|nr\.?|id|#|is|was|with|holder|issued))*\s{0,3}[:=#]?\s{0,3}"
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = rf"(?:\d{{1,4}}[-./]\d{{1,2}}[-./]\d{{1,4}}|{_MONTHS}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}|\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s)?{_MONTHS},?\s\d{{4}})"

PERSONAL: tuple[Rule, ...] = (
    rule(
        "email", "email", "@",
        r"(?<![\w.+-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])",
        before=65, after=260,
    ),
    rule("iban", "iban", "iban", r"\biban\b[^\w\n]{0,5}(?:\w{1,12}\s){0,3}?\W{0,3}([A-Z]{2}\d{2}(?:[\s./-]?[A-Z0-9]{2,4}){3,8})\b", checks.iban_shape, any_case=True),
    rule("link", "url", "://", r"(?:https?|ftps?|wss?)://[^\s<>\"'`{}|\\^\[\]]{3,2000}(?<![.,;:!?)])", before=5, after=2100, any_case=True),
    rule("www", "url", "www.", r"(?<![\w.-])www\.[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}(?:/[^\s<>\"'`{}|\\^\[\]]{0,1900}(?<![.,;:!?)]))?", after=2100, any_case=True),
    rule(
        "passport", "passport", "passport", rf"passport{_IS}([A-Z]{{0,2}}[0-9]{{6,9}}[A-Z]?)\b", any_case=True,
    ),
    rule(
        "driver_licence", "driver_licence", "licen|driv",
        rf"(?:driv(?:er|ing)(?:[’']?s|s[’']?)?\s+licen[cs]e|\blicen[cs]e\s+(?:number|no\.?|#)|\bDL\s?(?:#|no\.?|number)){_IS}((?=[A-Z0-9 -]{{0,8}}\d{{3}})[A-Z0-9](?:[ -]?[A-Z0-9]){{5,18}})\b",
        before=12, any_case=True,
    ),
    rule(
        "date_of_birth", "date_of_birth", "birth|born on|dob",
        rf"(?:date of birth|birth\s?date|birthday|\bborn on|\bDOB)\b\W{{0,4}}(?:is|was|on)?\s{{0,3}}({_DATE})", before=9, any_case=True,
    ),
    rule("age_old", "age", "old", r"\b(\d{1,3})(?:-|\s)(?:years?|yrs?)?[-\s]?old\b", before=14, any_case=True),
    rule("age_of", "age", "aged |age of |age:|years of age", r"\b(?:aged|age of|age:)\s{0,2}(\d{1,3})\b|\b\d{1,3} years of age", before=4, any_case=True),
    rule("ethereum", "crypto_wallet", "0x", r"(?<!\w)0x[0-9a-fA-F]{40}(?!\w)"),
    rule("bech32", "crypto_wallet", "bc1", r"(?<!\w)bc1[ac-hj-np-z02-9]{11,71}(?!\w)", lambda value: any(map(str.isdigit, value[4:]))),
    rule("nino", "uk_nino", "nino|national insurance|ni number|ni no", r"\b([A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D])\b", after=80, any_case=True),
    rule("pan_word", "in_pan", "pan ", r"\bPAN\b\W{0,4}(?:\w{1,10}\W{1,3}){0,3}?([A-Z]{5}\d{4}[A-Z])\b", any_case=True),
)  # fmt: skip

_DOMAIN = re.compile(
    rf"(?<![\w@.-])(?:[^\W_](?:[\w-]{{0,61}}[^\W_])?\.){{1,5}}(?:{_TOP})(?![\w@-]|\.\w)(?:/[^\s<>\"'`{{}}|\\^\[\]]{{0,500}}(?<![.,;:!?)]))?",
    re.IGNORECASE,
)
_TOP_END = re.compile(rf"\.(?:{_TOP})(?![\w-])")
_V4 = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_V4_WHOLE = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[0-9])")
_V6 = re.compile(r":[0-9A-Fa-f]{0,4}:")
_V6_WHOLE = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{7,39}(?![\w:]|\.[0-9])")
_MAC = re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])")
_MAC_PART = re.compile(r"[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]")
_NUMBERED = re.compile(r"(?:version|section|chapter|article|exhibit|rule|\bv|§|oid|sec\.)\W{0,3}$")
# Codes of letters and digits in one word, each with its check.
_CODE = re.compile(r"(?<![\w-])(?=[A-Za-z]{0,6}[0-9])[A-Za-z0-9][A-Za-z0-9]{7,33}(?![\w-])")
_CODES = (
    ("iban_code", "iban", re.compile(r"[A-Za-z]{2}\d{2}[A-Za-z0-9]{11,30}$"), checks.iban),
    ("dni", "es_dni", re.compile(r"\d{8}[A-HJ-NP-TV-Z]$|[XYZ]\d{7}[A-Z]$"), checks.es_dni),
    ("codice_fiscale", "it_codice_fiscale", re.compile(r"[A-Za-z]{6}\d\d[A-Za-z]\d\d[A-Za-z]\d{3}[A-Za-z]$"), checks.it_codice_fiscale),
    ("nino_form", "uk_nino", re.compile(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]$"), lambda code: code[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")),
    ("pan", "in_pan", re.compile(r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]$"), lambda code: True),
    ("bitcoin", "crypto_wallet", re.compile(r"[13][1-9A-HJ-NP-Za-km-z]{25,33}$"), checks.bitcoin),
)  # fmt: skip
# An IBAN in groups of any size; its country says how long it is.
_IBAN = re.compile(r"[0-9](?<=[A-Za-z]{2}.)(?<![^\W_]..{2})[0-9](?=[ ./_·\r\n>-]{0,5}[A-Za-z0-9])")
_IBAN_PART = re.compile(r"(?: ?[./_·-] ?| {1,2}|-?[ ]?\r?\n[> ]{0,3})?[A-Za-z0-9]")
# Codes whose groups are written apart: a cheap part that is searched for first, the whole, and the check.
_APART = (
    ("nino_form", "uk_nino", re.compile(r"[0-9]{2}[ -][0-9]{2}[ -][0-9]{2}[ -][A-D]"),
     re.compile(r"(?<!\w)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:[ -][0-9]{2}){3}[ -][A-D](?!\w)"), lambda code: True),
    ("dni", "es_dni", re.compile(r"[0-9]-[A-HJ-NP-TV-Z](?!\w)"),
     re.compile(r"(?<!\w)(?:[XYZ][ -]?[0-9]|[0-9]{2})(?:[ .]?[0-9]{3}){2}-[A-HJ-NP-TV-Z](?!\w)"), checks.es_dni),
    ("codice_fiscale", "it_codice_fiscale", re.compile(r"[0-9]{2}[A-EHLMPR-T][0-9]{2}"),
     re.compile(r"(?<!\w)[A-Z]{3}[ -]?[A-Z]{3}[ -]?[0-9]{2}[A-Z][0-9]{2}[ -]?[A-Z][0-9]{3}[ -]?[A-Z](?!\w)"), checks.it_codice_fiscale),
)  # fmt: skip
_REACH = 20  # characters on either side of such a part: longer than any code


def find_codes(text: str) -> Iterator[Span]:
    """Yield codes of letters and digits: IBANs, national identifiers, Bitcoin addresses."""
    for match in _CODE.finditer(text):
        code = match.group()
        for name, type, form, check in _CODES:
            if form.match(code) and check(code):
                yield Span(match.start(), match.end(), type, name)
                break
    yield from _find_ibans(text)
    for name, type, part, form, check in _APART:
        for match in _windowed(part, form, text, _REACH, _REACH):
            if check(match.group()):
                yield Span(*match.span(), type, name)


def _find_ibans(text: str) -> Iterator[Span]:
    """Yield IBANs whatever parts their groups."""
    done = 0
    for match in _IBAN.finditer(text):
        start, end = match.start() - 2, match.end()
        length = checks.iban_length(text[start : start + 2])
        for _ in range(length - 4 if start >= done else 0):
            part = _IBAN_PART.match(text, end)
            if part is None:
                break
            end = part.end()
        code = text[start:end]
        if text[end : end + 1].isalnum() or not checks.iban(code):
            continue
        # A sentence passes the check by chance once in a hundred times, but it has few digits.
        if 2 * len(checks.digits_of(code)) >= length - 4:
            done = end
            yield Span(start, end, "iban", "iban_code")


def find_network_addresses(text: str, lower: str) -> Iterator[Span]:
    """Yield IPv4, IPv6 and MAC addresses, but not section numbers such as 2.1.3.4."""
    for match in _windowed(_V4, _V4_WHOLE, text, 3, 13):
        words_before = lower[max(0, match.start() - 16) : match.start()]
        address = match.group()
        is_section = max(map(int, address.split("."))) <= 19 or _NUMBERED.search(words_before)
        if not is_section and checks.ip_address(address):
            yield Span(match.start(), match.end(), "ip_address", "ipv4")
    if ":" in text:
        for match in _windowed(_V6, _V6_WHOLE, text, 40, 42):
            if checks.ip_address(match.group()) and len(checks.digits_of(match.group())) > 1:
                yield Span(match.start(), match.end(), "ip_address", "ipv6")
    for match in _windowed(_MAC_PART, _MAC, text, 14, 18):
        yield Span(match.start(), match.end(), "mac_address", "mac")


def find_domains(text: str, lower: str) -> Iterator[Span]:
    """Yield domain names under a common top-level domain, with their path."""
    for match in _windowed(_TOP_END, _DOMAIN, text, 200, 520, lower):
        name = match.group().split("/")[0]
        label, _, top = name.lower().rpartition(".")
        # Not "stated.It" (no space after a sentence) or "U.S.in" (an abbreviation).
        if len(label) > 2 and not (
            len(top) == 2 and (name.rpartition(".")[2][0].isupper() or len(label) < 4)
        ):
            yield Span(match.start(), match.end(), "url", "domain")


def _windowed(
    part: re.Pattern[str], whole: re.Pattern[str], text: str, before: int, after: int, lower: str = ""
) -> Iterator[re.Match[str]]:
    """Yield matches of `whole` around a match of `part`, a cheap pattern that is searched for first."""
    done = 0
    for hint in part.finditer(lower or text):
        if hint.start() < done:
            continue
        match = whole.search(text, max(done, hint.start() - before), hint.start() + after)
        if match is not None and match.start() <= hint.start() < match.end():
            done = match.end()
            yield match
