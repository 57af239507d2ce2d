"""Apply all rules to one text, in order of precedence."""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection, Iterable, Iterator

from tinsmith.corpus.privacy.addresses import find_addresses, find_locations
from tinsmith.corpus.privacy.credentials import CREDENTIALS
from tinsmith.corpus.privacy.fold import fold
from tinsmith.corpus.privacy.names import (
    find_again,
    find_listed,
    find_names,
    lower_case_words,
    may_be_name,
)
from tinsmith.corpus.privacy.numbers import find_numbers
from tinsmith.corpus.privacy.personal import PERSONAL, find_codes, find_domains, find_network_addresses
from tinsmith.corpus.privacy.recogniser import Recogniser
from tinsmith.corpus.privacy.rules import lowered, search
from tinsmith.corpus.privacy.types import TYPES, Span

PLACEHOLDER = re.compile(rf"\[({'|'.join(name.upper() for name in TYPES)})_([0-9]{{1,9}})\]")
_NUMBERS = frozenset(
    "phone payment_card us_ssn uk_nhs in_aadhaar fr_insee de_tax_id nl_bsn bank_account".split()
)
_CODES = frozenset("iban es_dni it_codice_fiscale uk_nino in_pan crypto_wallet".split())


def find(text: str, types: Collection[str] = frozenset(TYPES), model: Recogniser | None = None) -> list[Span]:
    """Return the spans of these types, sorted and without overlap.

    Where several rules claim the same characters, the first wins: credentials, then numbers with a checksum, then
    other forms, then addresses and names, and last the model (a recogniser). All read the folded text.
    """
    folded = fold(text)
    return [folded.original(span) for span in _find_folded(folded.text, types, model)]


def _find_folded(text: str, types: Collection[str], model: Recogniser | None) -> list[Span]:
    spans = _DisjointSpans(match.span() for match in PLACEHOLDER.finditer(text))
    lower = lowered(text)
    for span in _candidates(text, lower, frozenset(types)):
        spans.add(span)
    vocabulary = lower_case_words(text) if "person" in types else frozenset()
    if model is not None and model.types.intersection(types):
        for span in model.find(text):
            if span.type in types and (span.type != "person" or may_be_name(text, span, vocabulary)):
                spans.add(span)
    if "person" in types:
        for span in find_listed(text, list(spans.added)):
            spans.add(span)
        for span in find_again(text, list(spans.added), vocabulary):
            spans.add(span)
    return sorted(spans.added)


def _candidates(text: str, lower: str, types: frozenset[str]) -> Iterator[Span]:
    yield from search(tuple(rule for rule in CREDENTIALS if rule.type in types), text, lower)
    yield from search(tuple(rule for rule in PERSONAL if rule.type in types), text, lower)
    groups: tuple[tuple[Collection[str], Iterable[Span]], ...] = (
        (_CODES, find_codes(text)),
        (("ip_address", "mac_address"), find_network_addresses(text, lower)),
        (_NUMBERS, find_numbers(text, lower)),
        (("url",), find_domains(text, lower)),
        (("address",), find_addresses(text, lower)),
        (("person",), find_names(text, lower)),
        (("location",), find_locations(text)),
    )
    for group, spans in groups:
        if not types.isdisjoint(group):
            yield from (span for span in spans if span.type in types)


class _DisjointSpans:
    """Spans that overlap neither each other nor some reserved ranges."""

    def __init__(self, reserved: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.added: list[Span] = []
        for start, end in reserved:
            self._insert(start, end)

    def add(self, span: Span) -> None:
        """Add a span unless it overlaps an earlier one."""
        index = bisect.bisect_left(self._starts, span.end)
        if index == 0 or self._ends[index - 1] <= span.start:
            self._insert(span.start, span.end)
            self.added.append(span)

    def _insert(self, start: int, end: int) -> None:
        index = bisect.bisect_left(self._starts, start)
        self._starts.insert(index, start)
        self._ends.insert(index, end)
