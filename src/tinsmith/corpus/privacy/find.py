"""All rules over one text, in the order in which they outrank each other."""

from __future__ import annotations

import bisect
import hashlib
import inspect
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from types import ModuleType

from tinsmith.corpus.privacy import (
    addresses,
    checks,
    credentials,
    names,
    numbers,
    personal,
    recogniser,
    rules,
)
from tinsmith.corpus.privacy.addresses import find_addresses, find_locations
from tinsmith.corpus.privacy.credentials import CREDENTIALS
from tinsmith.corpus.privacy.names import (
    find_again,
    find_listed,
    find_names,
    lower_case_words,
    may_be_name,
)
from tinsmith.corpus.privacy.numbers import find_numbers
from tinsmith.corpus.privacy.personal import PERSONAL, find_addresses_of_machines, find_codes, find_domains
from tinsmith.corpus.privacy.recogniser import Recogniser
from tinsmith.corpus.privacy.rules import lowered, search
from tinsmith.corpus.privacy.types import TYPES, Span

PLACEHOLDER = re.compile(rf"\[({'|'.join(name.upper() for name in TYPES)})_([0-9]{{1,9}})\]")
_NUMBERS = frozenset(
    "phone payment_card us_ssn uk_nhs in_aadhaar fr_insee de_tax_id nl_bsn bank_account".split()
)
_CODES = frozenset("iban es_dni it_codice_fiscale uk_nino in_pan crypto_wallet".split())


def find(text: str, types: Collection[str] = frozenset(TYPES), model: Recogniser | None = None) -> list[Span]:
    """Return what is found of these types, in order of place, no two spans overlapping.

    Of several rules that claim the same characters the first counts: credentials, then numbers with a checksum,
    then other forms, then addresses and names, last what the model (a recogniser) says where no rule found anything.
    """
    taken = _Taken(found.span() for found in PLACEHOLDER.finditer(text))
    lower = lowered(text)
    for span in _candidates(text, lower, frozenset(types)):
        taken.add(span)
    vocabulary = lower_case_words(text) if "person" in types else frozenset()
    if model is not None and model.types.intersection(types):
        for span in model.find(text):
            if span.type in types and (span.type != "person" or may_be_name(text, span, vocabulary)):
                taken.add(span)
    if "person" in types:
        for span in find_listed(text, list(taken.spans)):
            taken.add(span)
        for span in find_again(text, list(taken.spans), vocabulary):
            taken.add(span)
    return sorted(taken.spans)


def _candidates(text: str, lower: str, types: frozenset[str]) -> Iterator[Span]:
    yield from search(tuple(each for each in CREDENTIALS if each.type in types), text, lower)
    yield from search(tuple(each for each in PERSONAL if each.type in types), text, lower)
    groups: tuple[tuple[Collection[str], Iterable[Span]], ...] = (
        (_CODES, find_codes(text)),
        (("ip_address", "mac_address"), find_addresses_of_machines(text, lower)),
        (_NUMBERS, find_numbers(text, lower)),
        (("url",), find_domains(text, lower)),
        (("address",), find_addresses(text, lower)),
        (("person",), find_names(text, lower)),
        (("location",), find_locations(text)),
    )
    for group, spans in groups:
        if not types.isdisjoint(group):
            yield from (span for span in spans if span.type in types)


class _Taken:
    """Spans that do not overlap, in order."""

    def __init__(self, held: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.spans: list[Span] = []
        for start, end in held:
            self._insert(start, end)

    def add(self, span: Span) -> None:
        place = bisect.bisect_left(self._starts, span.end)
        if place == 0 or self._ends[place - 1] <= span.start:
            self._insert(span.start, span.end)
            self.spans.append(span)

    def _insert(self, start: int, end: int) -> None:
        place = bisect.bisect_left(self._starts, start)
        self._starts.insert(place, start)
        self._ends.insert(place, end)


def rules_hash() -> str:
    """Return a hash of the modules that find: figures belong to one state of them."""
    parts: tuple[ModuleType, ...] = (
        checks,
        rules,
        credentials,
        personal,
        numbers,
        names,
        addresses,
        recogniser,
    )
    sources = [inspect.getsource(part) for part in (*parts, sys.modules[__name__])]
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:16]
