"""Checksums and forms that tell identifying numbers from other numbers."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
from collections import Counter
from collections.abc import Sequence

from phonenumbers import Leniency, PhoneNumberMatcher

# Lengths of the SWIFT IBAN registry.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FO FI GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ DZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_CARD_PREFIXES = re.compile(r"3[0-9]|4|5[0-9]|6[0-9]|2[2-7]|2131|1800|81|9[79]")
_DIGITS = re.compile("[0-9]+")
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_BASE58 = {
    letter: value for value, letter in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
# The permutation of Verhoeff's scheme; it is applied once more with each digit from the right.
_VERHOEFF_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def digits_of(text: str) -> str:
    """Return the ASCII digits of a text in order."""
    return "".join(_DIGITS.findall(text))


def _weighted_sum(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def luhn(text: str) -> bool:
    """Return whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1)."""
    total = 0
    for index, digit in enumerate(reversed(digits_of(text))):
        value = int(digit) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def payment_card(text: str) -> bool:
    """Return whether 12 to 19 digits are in an issuer's range, no ISBN, not all equal, and end in their Luhn digit."""
    digits = digits_of(text)
    is_book = len(digits) == 13 and digits.startswith(("978", "979"))
    return (
        12 <= len(digits) <= 19
        and not is_book
        and len(set(digits)) > 1
        and _CARD_PREFIXES.match(digits) is not None
        and luhn(digits)
    )


def iban(text: str) -> bool:
    """Return whether an IBAN has its country's length and the remainder 1 modulo 97 (ISO 13616)."""
    code = "".join(filter(str.isalnum, text)).upper()
    if len(code) != _IBAN_LENGTHS.get(code[:2]) or not code.isascii():
        return False
    return int("".join(str(int(letter, 36)) for letter in code[4:] + code[:4])) % 97 == 1


def iban_shape(text: str) -> bool:
    """Return whether a text has the length of its country's IBANs, whatever its check digits."""
    code = "".join(filter(str.isalnum, text)).upper()
    return len(code) == _IBAN_LENGTHS.get(code[:2])


def iban_length(country: str) -> int:
    """Return how many characters the IBANs of a country have, 0 where it has none."""
    return _IBAN_LENGTHS.get(country.upper(), 0)


def us_ssn(text: str) -> bool:
    """Return whether nine digits may be a US social security or taxpayer number: no part all zeros, first not 666."""
    digits = digits_of(text)
    return (
        len(digits) == 9 and digits[:3] not in ("000", "666") and digits[3:5] != "00" and digits[5:] != "0000"
    )


def aba_routing(text: str) -> bool:
    """Return whether nine digits are a US routing number (weights 3, 7, 1; a Federal Reserve prefix)."""
    digits = digits_of(text)
    if len(digits) != 9 or not (0 < int(digits[:2]) <= 12 or 21 <= int(digits[:2]) <= 32):
        return False
    return _weighted_sum(digits, (3, 7, 1) * 3) % 10 == 0


def uk_nhs(text: str) -> bool:
    """Return whether ten digits end in their modulus 11 check digit and are not all equal."""
    digits = digits_of(text)
    if len(digits) != 10 or len(set(digits)) == 1:
        return False
    return (11 - _weighted_sum(digits, range(10, 1, -1)) % 11) % 11 == int(digits[9])


def de_tax_id(text: str) -> bool:
    """Return whether eleven digits are a German tax number (ISO 7064 mod 11, 10; one digit of ten repeats)."""
    digits = digits_of(text)
    counts = sorted(Counter(digits[:10]).values())
    if len(digits) != 11 or digits[0] == "0" or counts[-1] not in (2, 3):
        return False
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def fr_insee(text: str) -> bool:
    """Return whether 15 characters are a French social security number with its key (97 - number % 97)."""
    code = "".join(filter(str.isalnum, text)).upper().replace("2A", "19", 1).replace("2B", "18", 1)
    return len(code) == 15 and code.isdecimal() and 97 - int(code[:13]) % 97 == int(code[13:])


def es_dni(text: str) -> bool:
    """Return whether a Spanish DNI or NIE ends in its check letter (number modulo 23)."""
    code = "".join(filter(str.isalnum, text)).upper()
    number = {"X": "0", "Y": "1", "Z": "2"}.get(code[0], code[0]) + code[1:-1]
    return len(number) == 8 and number.isdecimal() and _DNI_LETTERS[int(number) % 23] == code[-1]


def it_codice_fiscale(text: str) -> bool:
    """Return whether an Italian tax code of sixteen characters ends in its check letter."""
    code = "".join(filter(str.isalnum, text)).upper()
    odd = "BAKPLCQDREVOSFTGUHMINJWZYX"
    total = 0
    for index, letter in enumerate(code[:15]):
        value = int(letter) if letter.isdecimal() else ord(letter) - 65
        total += odd.index(chr(65 + value)) if index % 2 == 0 else value
    return len(code) == 16 and chr(65 + total % 26) == code[15]


def nl_bsn(text: str) -> bool:
    """Return whether nine digits pass the modulus 11 test of Dutch citizen numbers."""
    digits = digits_of(text)
    return (
        len(digits) == 9 and int(digits) > 0 and _weighted_sum(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0
    )


def in_aadhaar(text: str) -> bool:
    """Return whether twelve digits, the first not 0 or 1, end in their Verhoeff check digit."""
    digits = digits_of(text)
    if len(digits) != 12 or digits[0] in "01":
        return False
    check = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit)
        for _ in range(index % 8):
            value = _VERHOEFF_PERMUTATION[value]
        check = _dihedral(check, value)
    return check == 0


def _dihedral(left: int, right: int) -> int:
    """Multiply in the dihedral group of order 10: 0 to 4 are rotations, 5 to 9 reflections."""
    rotation = (left + right) % 5 if left < 5 else (left - right) % 5
    return rotation + 5 * ((left >= 5) != (right >= 5))


def ip_address(text: str) -> bool:
    """Return whether a text is an IP address other than 0.0.0.0 and ::."""
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


def bitcoin(text: str) -> bool:
    """Return whether a base58 text is a Bitcoin address (ends in the first four bytes of its double SHA-256)."""
    value = 0
    for letter in text:
        if letter not in _BASE58:
            return False
        value = value * 58 + _BASE58[letter]
    try:
        whole = value.to_bytes(25, "big")
    except OverflowError:
        return False
    return hashlib.sha256(hashlib.sha256(whole[:21]).digest()).digest()[:4] == whole[21:]


def entropy(text: str) -> float:
    """Return the Shannon entropy of a text's characters, in bits per character."""
    total = len(text)
    return -sum(count / total * math.log2(count / total) for count in Counter(text).values()) if text else 0.0


def looks_random(text: str) -> bool:
    """Return whether a value looks random: letters mixed with digits, over 3 bits of entropy per character."""
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text)) and entropy(text) > 3.0


# Whose national phone numbers, without a country code, are recognised.
_REGIONS = (
    "US GB IE DE AT CH FR BE NL LU IT ES PT DK NO SE FI IS PL CZ SK HU SI HR RO BG GR EE LV LT CY GL AU NZ ZA IN BR MX AR UY CL"
).split()


def grouped_phone(value: str) -> bool:
    """Return whether digits grouped by one kind of separator are a valid phone number somewhere (libphonenumber)."""
    if len(set(re.findall(r"[./-]| (?=\d)", value))) > 1:
        return False
    return any(_is_phone(value, region) for region in _REGIONS)


def phone_regions(value: str) -> set[str]:
    """Return the regions in which digits are a valid phone number (libphonenumber); with a plus sign one stands for all."""
    return {
        region for region in (_REGIONS[:1] if value.startswith("+") else _REGIONS) if _is_phone(value, region)
    }


def _is_phone(value: str, region: str) -> bool:
    return next(iter(PhoneNumberMatcher(value, region, leniency=Leniency.VALID)), None) is not None
