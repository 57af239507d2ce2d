"""Rules for identifying numbers: each run of digits is classified by form, checksum and the words before it.

They read a folded text, in which all blanks, hyphens and digits are plain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tinsmith.corpus.privacy import checks
from tinsmith.corpus.privacy.cards import CARD_WORDS, find_cards
from tinsmith.corpus.privacy.types import Span

# A plus sign or bracket, 6 to 25 digits with up to three separators between two of them, and an extension.
_BEFORE = r"(?<![^\W_].)(?<![$€£¥].)(?<![^\W_]_.)"  # of the first character, which the dot stands for
_DIGITS = r"(?:[ .()/-]{0,3}[0-9])"
_EXTENSION = r"\s{0,2}(?:x|ext\.?)\s{0,2}[0-9]{1,6}"
_RUN = re.compile(
    rf"[+(0-9]{_BEFORE}\(?(?>{_DIGITS}{{5,24}})(?:{_EXTENSION})?(?![^\W_]|%|\.[0-9]|-\w)", re.IGNORECASE
)
# The same over the ends of lines, where a program may have wrapped them: "+49 30 1234" before, "5678" after one.
_LINE_END = r"[ ]?\r?\n[> ]{0,3}"
_WRAPPED = re.compile(
    rf"[+(0-9]{_BEFORE}\(?(?>{_DIGITS}{{1,14}}(?:[ .()/-]{{0,2}}{_LINE_END}[(]?[0-9]{_DIGITS}{{1,14}}){{1,3}})"
    r"(?![^\W_]|%|\.[0-9]|-\w|[,;|\t]\S| {2})"
)
_EXTENDED = re.compile(_EXTENSION + "$", re.IGNORECASE)
_HYPHEN = rf"(?: ?- ?|-{_LINE_END})"
_SSN = re.compile(
    rf"[0-9](?<![^\W_].)(?<![$€£¥].)(?<![0-9][.-].)[0-9]{{2}}{_HYPHEN}[0-9]{{2}}{_HYPHEN}[0-9]{{4}}(?![^\W_]|%|[.-][0-9])"
)
_THOUSANDS_BEFORE = re.compile(r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3})*,$")
_THOUSANDS_AFTER = re.compile(r",[0-9]{3}(?![0-9])")
_AFTER_THOUSANDS = re.compile(r"[0-9]{3}[ ,]")
_BLANKS = re.compile(r" {2,}")
_DATE = re.compile(
    r"(?:1[89]|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}\b|\d{1,2}[-./]\d{1,2}[-./](?:1[89]|20)\d\d$|(?:1[89]|20)\d\d ?[ -] ?(?:1[89]|20)\d\d$"
)
_EMPLOYER = re.compile(r"\d{2}-\d{7}$")  # US employer identification number
_WINDOW = 60  # characters before a number that may hold its keyword
_FEWEST = 6  # digits of a number
_MOST = 15  # and the most that a number in several lines has
_CLOSE = 20  # characters before a number that must hold a word for a phone if it looks like another number
_LONG = 9  # digits of a phone that needs no more


class _Rule(NamedTuple):
    """A pattern of the number, one of the words before it, if they matter, and a check of the digits."""

    name: str
    type: str
    form: re.Pattern[str]
    near: re.Pattern[str] | None
    check: Callable[[str], bool] | None


def _rule(
    name: str, type: str, sizes: str, near: str = "", check: Callable[[str], bool] | None = None
) -> _Rule:
    """Return a rule; each blank in `sizes` stands for up to three separators, or none."""
    form = sizes.replace(" ", "[ ./-]{0,3}")
    return _Rule(name, type, re.compile(f"(?:{form})$"), re.compile(near) if near else None, check)


def _phone(name: str, form: str, near: str = "", check: Callable[[str], bool] | None = None) -> _Rule:
    return _Rule(name, "phone", re.compile(form), re.compile(near) if near else None, check)


_PHONE_WORDS = (
    r"(?:phone|mobile|\bcell(?:ular)?\b|\b(?:tel|tlf|ph|mob|tél)\b|tel[.:]|tele[fp]|télép|\bfax|landline|voicemail|toll[- ]free|\bpager\b|"
    r"\b(?:my|his|her|our|their|your) (?:\w{3,8} )?number\b|\bcalls?\b|\bcall(?:ed|ing) (?:me|us|him|her|them|from|on|at)\b|\bdial|\bring\b|hotline|whatsapp|\bsms\b|"
    r"\b(?:text|reach|contact)(?:ed|ing)? (?:me|us|him|her|them)\b|\bcontact (?:details|number|no|at|on)\b|\boffice:|\bdesk:|answering at|messages? (?:on|to)|registered(?: number)? ?$)"
)
_PHONE_WORD = re.compile(_PHONE_WORDS)
_NUMBERED = re.compile(r"\bnos?\. ?(?:\d+-\d+(?:, | and ))*$")
_BOOK = re.compile(r"\bis[bs]n(?:-1[03])?:? ?$")
_WORDY = re.compile(
    rf"(?:{_PHONE_WORDS}|\b(?:ssn|itin|nhs|bsn|tin|iban|acct?|account|nr|no|number)\b)[.:]?-$"
)
_IDENTIFIERS = (
    _rule("card_word", "payment_card", r"\d{13,19}|\d{4} \d{4} \d{4} \d{4}", CARD_WORDS + r".{0,30}$"),
    _rule("ssn_word", "us_ssn", r"\d{3} \d{2} \d{4}", r"\b(?:ssn|itin|social security)\b.{0,30}$", checks.us_ssn),
    _rule("nhs", "uk_nhs", r"\d{3} \d{3} \d{4}", r"\bnhs\b", checks.uk_nhs),
    _rule("aadhaar", "in_aadhaar", r"\d{4} \d{4} \d{4}", r"\b(?:aadh?aar|uidai|uid)\b", checks.in_aadhaar),
    _rule("insee", "fr_insee", r"[12] \d\d (?:0[1-9]|1[0-2]) \d\d \d{3} \d{3} \d\d", "", checks.fr_insee),
    _rule("steuer_id", "de_tax_id", r"\d{2} \d{3} \d{3} \d{3}", r"steuer|tax|\bid-?nr|\btin\b", checks.de_tax_id),
    _rule("bsn", "nl_bsn", r"\d{4} \d{2} \d{3}|\d{3} \d{3} \d{3}", r"\bbsn\b|burgerservice|sofi", checks.nl_bsn),
    _rule("routing", "bank_account", r"\d{4} \d{4} \d|\d{3} \d{3} \d{3}", r"\b(?:routing|aba|rtn|transit)\b", checks.aba_routing),
    _rule("sort_code", "bank_account", r"\d{2} \d{2} \d{2}", r"sort code"),
    _rule("account", "bank_account", r"\d(?: \d){5,20}", r"(?:\b(?:account|acct)[. ]{0,2}(?:number|no\b|num\b|nr\b|#|:|is\b)|\ba/c\b|kontonummer|bank account).{0,15}$"),
)  # fmt: skip
_ANY_WORD = re.compile("|".join([_PHONE_WORDS, *(rule.near.pattern for rule in _IDENTIFIERS if rule.near)]))
_PHONES = (
    _phone("international", r"\+\d{1,3}[\d .()/-]{6,22}$"),
    _phone("prefixed", r"00 ?[1-9]\d{0,2}[ .()/-][\d .()/-]{6,22}$"),
    _phone("us", r"(?:1[ .-])?(?:\(\d{3}\)[ -]?|\d{3}([./-]))[2-9]?\d{2,3}(?(1)(?:\1|-)|[ .-])\d{4}$"),
    _phone("bracketed", r"\(0\d{1,4}\)[ ./-]{0,2}\d[\d ./-]{4,10}$"),
    _phone("area", r"\(\d{2,4}\) ?\d{3,5}[ .-]?\d{3,5}$", "", lambda run: bool(checks.phone_regions(run))),
    _phone("eastern", r"8[ -]\(?\d{3,5}\)?[ -]\d{1,3}-\d\d-\d\d$"),
    _phone("trunk", r"0\d{1,4}[ ./-]{1,3}\d{2,4}(?:[ .-]\d{2,4}){1,4}$|0\d{2,4}[ /]\d{5,8}$", r"^(?!.*(?:\$|%|\bcusip\b|\bno\.|\bnumber)).*$"),
    _phone("word", r"[\d .()/-]+$", _PHONE_WORDS),
    _phone("grouped", r"\(?(?:0\d+\)?[ ./-]{1,2}\d+|\d+\)?(?:[ ./-]{1,2}\d+){2,4})$", "", checks.grouped_phone),
)  # fmt: skip


def find_numbers(text: str, lower: str) -> Iterator[Span]:
    """Yield each run of digits that identifies somebody, by the first rule that fits."""
    certain = list(find_cards(text, lower))
    certain += (
        Span(*match.span(), "us_ssn", "ssn") for match in _SSN.finditer(text) if checks.us_ssn(match.group())
    )
    yield from certain
    rest = _without(text, certain)
    wrapped = list(_find_wrapped(rest, lower))
    yield from wrapped
    rest = _without(rest, wrapped)
    for match in _RUN.finditer(rest):
        if not _is_cut_off(rest, match.start(), match.end()):
            yield from _find_in_run(match.group(), match.start(), lower)


def _without(text: str, spans: list[Span]) -> str:
    """Return a text of the same length with another character in place of what is found already."""
    parts, done = [], 0
    for span in sorted(spans):
        parts += [text[done : span.start], "\0" * (span.end - span.start)]
        done = span.end
    return "".join([*parts, text[done:]]) if parts else text


def _is_cut_off(text: str, start: int, end: int) -> bool:
    """Return whether the characters beside a run make it a part of something: an amount, a decimal, a part's code."""
    before = text[max(0, start - 20) : start].lower()
    if before.endswith(",") and _AFTER_THOUSANDS.match(text, start) and _THOUSANDS_BEFORE.search(before):
        return True
    if before.endswith(".") and not before[-3:-1].isalpha():
        return True
    if before.endswith("-") and before[-2:-1].isalnum() and not _WORDY.search(before):
        return True
    last = len(text[start:end]) - len(text[start:end].rstrip("0123456789"))
    # No amount begins with a plus sign, a bracket or a zero.
    return text[start] not in "+(0" and last <= 3 and _THOUSANDS_AFTER.match(text, end) is not None


def _find_in_run(run: str, start: int, lower: str) -> Iterator[Span]:
    """Yield a run as a whole, or else what stands apart in it, as in the columns of a table."""
    while run[0] == "(" and run.count("(") > run.count(")"):
        start, run = start + 1, run[1:]
    if (rule := _classify(run, _words_before(lower, start))) is not None:
        yield Span(start, start + len(run), rule.type, rule.name)
        return
    ends = [*(match.span() for match in _BLANKS.finditer(run)), (len(run), len(run))]
    begin = 0
    for end, following in ends if len(ends) > 1 else ():
        piece = run[begin:end]
        if (rule := _classify(piece, _words_before(lower, start + begin))) is not None:
            yield Span(start + begin, start + end, rule.type, rule.name)
        begin = following


def _find_wrapped(text: str, lower: str) -> Iterator[Span]:
    """Yield numbers that the ends of lines part: those with a check digit, and phones."""
    match = _WRAPPED.search(text) if "\n" in text else None
    while match:
        start, words = match.start(), _words_before(lower, match.start())
        ends = [end.span() for end in re.finditer(_LINE_END, match.group())]
        follows = start + ends[0][1]  # the next line may begin a number if this one does not
        # Columns of figures have neither such a beginning nor such a word, so most are not looked at any further.
        marked = match.group()[0] in "+(0" or _ANY_WORD.search(words)
        fewest = _FEWEST if marked else _MOST
        sizes = reversed([*(end[0] for end in ends[1:]), len(match.group())])
        for size in sizes if len(checks.digits_of(match.group())) >= fewest else ():
            run = match.group()[:size].rstrip(" .()/-")
            if not fewest <= len(checks.digits_of(run)) <= _MOST:
                continue
            found = _wrapped_type(re.split(_LINE_END, run), words)
            if found and not _is_cut_off(text, start, start + len(run)):
                yield Span(start, start + len(run), *found)
                follows = start + len(run)
                break
        match = _WRAPPED.search(text, follows)


def _wrapped_type(lines: list[str], words: str) -> tuple[str, str] | None:
    """Return type and source of a number in several lines. A phone is in two, and none without the last."""
    run = " ".join(lines)
    rule = _classify(run, words, _IDENTIFIERS)
    if rule is not None and rule.check is not None:
        return rule.type, rule.name
    if len(lines) == 2 and _may_be_phone(run, words) and _is_wrapped_phone(lines[0], lines[1], words):
        return "phone", "wrapped"
    return None


def _is_wrapped_phone(head: str, tail: str, words: str) -> bool:
    is_marked = head[0] == "+" or re.match(r"0\d+[ ./()-]+\d|\(\d\d", head) or _PHONE_WORD.search(words)
    sizes = [len(checks.digits_of(line)) for line in (head, tail)]
    both_are_long = min(sizes) >= _FEWEST and sizes[1] > _FEWEST
    is_whole = sizes[0] >= _LONG and head[0] != "+"
    if not is_marked or both_are_long or is_whole or tail[0] in "0(":
        return False
    regions = checks.phone_regions(head)
    if regions and sizes[0] >= _LONG:
        return False
    return bool(checks.phone_regions(f"{head} {tail}") - regions)


def _words_before(lower: str, start: int) -> str:
    return lower[max(0, start - _WINDOW) : start].replace("\n", " ")


def _classify(run: str, words: str, rules: Iterable[_Rule] = (*_IDENTIFIERS, *_PHONES)) -> _Rule | None:
    extension = _EXTENDED.search(run)
    run = run[: extension.start()] if extension else run
    if len(checks.digits_of(run)) < _FEWEST:
        return None
    for rule in rules:
        if (
            rule.form.match(run)
            and (rule.near is None or rule.near.search(words))
            and (rule.type != "phone" or _may_be_phone(run, words))
            and (rule.check is None or rule.check(run))
        ):
            return rule
    return None


def _may_be_phone(run: str, words: str) -> bool:
    """Return whether a run is as long as a phone, and not a date or the number of a book, a case or an employer."""
    digits = checks.digits_of(run)
    if not 7 <= len(digits) <= 15 or len(set(digits)) == 1 or _DATE.match(run) or _BOOK.search(words):
        return False
    is_short_number = _EMPLOYER.match(run) or (len(digits) < _LONG and _NUMBERED.search(words))
    return not is_short_number or _PHONE_WORD.search(words, max(0, len(words) - _CLOSE)) is not None
