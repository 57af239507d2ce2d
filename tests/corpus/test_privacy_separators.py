"""Numbers are found whatever parts their groups and whatever stands beside them, and are not made of neighbours."""

import random
import unicodedata

import pytest

from tinsmith.corpus.privacy import find
from tinsmith.corpus.privacy.fold import fold
from tinsmith.corpus.privacy.protect import Protector
from tinsmith.recipe import PrivacyConfig

NUMBERS = ["payment_card", "iban", "us_ssn", "uk_nhs", "phone", "de_tax_id", "fr_insee", "bank_account"]
# What parts groups: any blank, hyphen or minus, nothing that shows, signs, and the end of a line.
BLANKS = "\xa0\u2002\u2003\u2007\u2009\u200a\u202f\u205f\u3000 "
HYPHENS = "-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
ROOMLESS = "\xad\u200b\u200c\u200d\u2060\ufeff\ufe0f"
SEPARATORS = [*BLANKS, *HYPHENS, *ROOMLESS, ".", "/", "\n", " - ", "-\n", "\n> "]
GROUPS = {
    "payment_card": ("paid by card {} on Monday", "4111 1111 1111 1111"),
    "iban": ("and the rest to {} on Tuesday", "GB29 NWBK 6016 1331 9268 19"),
    "uk_nhs": ("NHS number {} given", "943 476 5919"),
    "us_ssn": ("SSN {} on file", "536 22 1234"),
    "phone": ("please call {} at noon", "+49 30 901820"),
    "de_tax_id": ("Steuer-ID {} genannt", "86 095 742 719"),
    "fr_insee": ("Numéro {} ici", "1 84 12 76 451 089 46"),
    "bank_account": ("Routing number {} it is", "021 000 021"),
}
BESIDE = [
    "Ada,{},700\nBen", "7,{},700", '"Ada","{}","700"', "Ada;{};700", "Ada\t{}\t700", "|Ada|{}|700|",
    '{{"n":"{}","sum":700}}',
    "#{} here", "-{} here", "- {}\n", "({})", "[{}]", "<td>{}</td>", "**{}**", "_{}_", "'{}'",
    "“{}”", "\u2014{}\u2014", "{}: yes", "{}\n700",
]  # fmt: skip
WHOLE = {
    "payment_card": ["4111111111111111", "4111 1111 1111 1111", "3782 822463 10005"],
    "iban": ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00"],
    "us_ssn": ["536-22-1234"],
    "phone": ["+49 30 901820", "0171 555 1234", "(212) 555-1234", "212-555-1234"],
}


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in find(text, NUMBERS)]


@pytest.mark.parametrize("kind", GROUPS)
def test_any_separator_parts_the_groups(kind: str) -> None:
    sentence, value = GROUPS[kind]
    for separator in SEPARATORS:
        # A line ends once in a number; what is wrapped is prose, not a column.
        parted = (
            value.replace(" ", separator) if "\n" not in separator else separator.join(value.rsplit(" ", 1))
        )
        assert found(sentence.format(parted)) == [(kind, parted)], ascii(separator)


def test_a_card_and_an_iban_may_be_parted_at_every_line_end() -> None:
    for kind in ("payment_card", "iban"):
        sentence, value = GROUPS[kind]
        parted = value.replace(" ", "\n")
        assert found(sentence.format(parted)) == [(kind, parted)]


@pytest.mark.parametrize("zero", ["\uff10", "\u0660", "\u06f0", "\u0966", "\u09e6", "\U0001d7ce"])
def test_digits_of_any_script_count(zero: str) -> None:
    table = {ord("0") + digit: ord(zero) + digit for digit in range(10)}
    for kind, (sentence, value) in GROUPS.items():
        assert found(sentence.format(value.translate(table))) == [(kind, value.translate(table))]


@pytest.mark.parametrize("kind", WHOLE)
def test_what_stands_beside_a_number_does_not_hide_it(kind: str) -> None:
    for value in WHOLE[kind]:
        for pattern in BESIDE:
            assert found(pattern.format(value)) == [(kind, value)], pattern


def test_a_card_stands_apart_from_what_follows_it() -> None:
    for value in WHOLE["payment_card"]:
        for pattern in (
            "{} 700",
            "{} 12/27",
            "700  {}",
            "{}.0",
            "{},00",
            "card-{}",
            "17 {} 700",
            "{} 1227 123",
        ):
            assert found(pattern.format(value)) == [("payment_card", value)], pattern


def test_neighbours_are_each_found() -> None:
    card, other = "4111 1111 1111 1111", "5555 5555 5555 4444"
    wrong = "4111 1111 1111 1112"
    for text, kind, values in [
        (f"{card}\n{other}\n{wrong}\n", "payment_card", [card, other]),
        (f"{card} {other}", "payment_card", [card, other]),
        ("4111111111111111,5555555555554444", "payment_card", ["4111111111111111", "5555555555554444"]),
        ("536-22-1234 537-22-1234 700", "us_ssn", ["536-22-1234", "537-22-1234"]),
        ("0171 555 1234,0171 555 9999", "phone", ["0171 555 1234", "0171 555 9999"]),
        ("DE89370400440532013000,GB29NWBK60161331926819", "iban", ["DE89370400440532013000", "GB29NWBK60161331926819"]),
        ("Tel: +49 30 901820\n2024 Report", "phone", ["+49 30 901820"]),
        ("11,Ada,030 12345\n12,Ben,030 12346\n", "phone", ["030 12345", "030 12346"]),
        ("12 34\n56 78\nTel 0171 555\n1234 it", "phone", ["0171 555\n1234"]),
        ("101 23\n45 67\n0171 555\n1234 it", "phone", ["0171 555\n1234"]),
        ("601 234 567 it", "phone", ["601 234 567"]),
        ("120 34\n+49 30\n901 820", "phone", ["+49 30\n901 820"]),
        ("Tel 0171 555 1234\n0171 555 9999", "phone", ["0171 555 1234", "0171 555 9999"]),
    ]:  # fmt: skip
        assert found(text) == [(kind, value) for value in values]


@pytest.mark.parametrize(
    "text",
    [
        "41111111,11111111",  # two cells
        "41111111 11111111 tons",
        "4111,1111,1111,1111",
        "4111;1111;1111;1111",
        "4111\t1111\t1111\t1111",
        "4111  1111  1111  1111",  # columns
        "4111\n1111\n1111\n1111\n",
        "4111 1111 1111 1111 4512 4830 4991 5120 3333 2222",  # a row of a table
        "0.4111111111111111",
        "$4111111111111111",
        "A4111111111111111",
        "550e8400-e29b-41d4-a716-446655440000",
        "$1,234,567 890 1234",
        "1,536,221,234 shares",
        "601 234 567,800 in all",
        "12,345 678 9012 in all",
        "2010\u20132011, 2012-2013",
        "2019 2020\n2021 2022\n2023 2024",
        "0.923\n748609.8",
        "argued in No. 09\u201313115, as",
        "Press. ISBN 0-356-17910-9.",
        "part ABC-123-456-7890",
        "Ltd DE88 3704 0044 0532 0130 00",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert found(text) == []


def test_tables_of_random_figures_have_no_cards() -> None:
    draw = random.Random(5)
    claimed = 0
    for separator in (",", ";", "\t", "  ", "|", " "):
        for size in (4, 5, 6, 8):
            rows = ((str(draw.randrange(10 ** (size - 1), 10**size)) for _ in range(6)) for _ in range(40))
            claimed += len(find("\n".join(map(separator.join, rows)), ["payment_card", "us_ssn", "iban"]))
    assert claimed == 0


def test_one_value_has_one_placeholder_however_it_is_written() -> None:
    spellings = ["536-22-1234", "536\u201122\u20111234", "\uff15\uff13\uff16-22-1234", "536\u200b-22-1234"]
    protected = Protector(PrivacyConfig()).protect("; ".join(spellings)).text
    assert protected == "; ".join(["[US_SSN_1]"] * len(spellings))


def test_codes_of_letters_and_digits_may_be_parted() -> None:
    for kind, text, value in [
        ("es_dni", "DNI 12.345.678-Z", "12.345.678-Z"),
        ("es_dni", "NIE X-1234567-L", "X-1234567-L"),
        ("uk_nino", "his AB-12-34-56-C", "AB-12-34-56-C"),
        ("uk_nino", "his AB\xa012\xa034\xa056\xa0C", "AB\xa012\xa034\xa056\xa0C"),
        ("it_codice_fiscale", "CF RSSMRA 85T10 A562 S", "RSSMRA 85T10 A562 S"),
        ("bank_account", "Sort code 12\u201134\u201156", "12\u201134\u201156"),
        ("email", "to jane\u200b.doe@example.org", "jane\u200b.doe@example.org"),
    ]:
        assert [text[span.start : span.end] for span in find(text, [kind])] == [value]
    assert find("DNI 12.345.678-A", ["es_dni"]) == []


def test_folding_keeps_places_and_knows_all_blanks_and_digits() -> None:
    assert fold("plain") == ("plain", None)
    folded = fold("a\xadb\u202f\uff14\u0664\u2011\ud800")
    assert folded.text == "ab 44-\ud800"
    assert folded.places.tolist() == [0, 2, 3, 4, 5, 6, 7]
    letters = [chr(code) for code in range(0x20000)]
    for category, plain in {"Zs": " ", "Nd": "0123456789"}.items():
        every = [letter for letter in letters if unicodedata.category(letter) == category]
        assert set(fold("".join(every)).text) == set(plain)
        assert len(fold("".join(every)).text) == len(every)
