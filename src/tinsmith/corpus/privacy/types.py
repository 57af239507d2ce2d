"""The types of personal data and credentials, with their default actions."""

from __future__ import annotations

from typing import NamedTuple

from tinsmith.recipe import PRIVACY_DEFAULTS, PRIVACY_DEFAULTS_WITH_NAMES


class TypeInfo(NamedTuple):
    """What a type is, its default action with rules alone and with a recogniser, and whether its form is fixed."""

    what: str
    default: str
    with_recogniser: str
    structured: bool
    credential: bool


class Span(NamedTuple):
    """Characters [start, end) of a text, their type, and the rule or model that found them."""

    start: int
    end: int
    type: str
    source: str


_WORDS = {
    "person": "name of a person",
    "address": "postal address: street, box, floor, with town and code where they follow",
    "location": "name of a town, region or country",
    "organisation": "name of a firm or authority",
    "date_of_birth": "date of birth, after a keyword",
    "age": "age of a person in years",
}
_FORMS = {
    "email": "e-mail address",
    "phone": "phone or fax number",
    "payment_card": "payment card number (issuer's range and Luhn digit, or after a keyword)",
    "iban": "international bank account number (country's length and mod 97, or after the word IBAN)",
    "bank_account": "account, routing (checksum) or sort code after a keyword",
    "ip_address": "IPv4 or IPv6 address",
    "mac_address": "hardware address of a network card",
    "url": "web address or domain name",
    "crypto_wallet": "Bitcoin (checksum) or Ethereum address",
    "us_ssn": "US social security or taxpayer number",
    "uk_nino": "UK national insurance number",
    "uk_nhs": "UK NHS number (mod 11)",
    "de_tax_id": "German tax identification number (mod 11, 10)",
    "fr_insee": "French social security number (mod 97)",
    "es_dni": "Spanish DNI or NIE (letter)",
    "it_codice_fiscale": "Italian tax code (check letter)",
    "nl_bsn": "Dutch citizen number (mod 11)",
    "in_aadhaar": "Indian Aadhaar number (Verhoeff)",
    "in_pan": "Indian permanent account number",
    "passport": "passport number after a keyword",
    "driver_licence": "driving licence number after a keyword",
}
_CREDENTIALS = {
    "private_key": "private key block (PEM, OpenSSH, PGP, PuTTY)",
    "cloud_key": "key of a cloud provider: AWS, Azure, Google",
    "access_token": "token of a service, by its published form",
    "jwt": "JSON web token",
    "password": "password in a URL, a connection string or an assignment",
    "secret": "random-looking value near a word such as secret, key or token",
}

TYPES: dict[str, TypeInfo] = {
    name: TypeInfo(
        what,
        PRIVACY_DEFAULTS[name],
        PRIVACY_DEFAULTS_WITH_NAMES[name],
        name not in _WORDS,
        name in _CREDENTIALS,
    )
    for name, what in {**_WORDS, **_FORMS, **_CREDENTIALS}.items()
}
