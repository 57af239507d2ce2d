"""Numbers in texts: what is read, and when a number stands in another text."""

import time
from fractions import Fraction

import pytest

from tinsmith.base.numerals import missing_numbers, number_of, numerals


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,234.5 and 12.50", ["1234.5", "12.5"]),
        ("1.234,56 EUR, 1.234.567, 12,50", ["1234.56", "1234567", "12.5"]),
        ("1’234’567.8 and 10\u202f000", ["1234567.8", "10000"]),
        ("$1.2bn, 3 million, 5k, 2 hundred", ["1200000000", "3000000", "5000", "200"]),
        ("5 m of 12%", ["5", "12"]),
        ("-1.2, −3, -$5, $-6 and (1,234)", ["-1.2", "-3", "-5", "-6", "-1234"]),
        ("gold – 50, oil - 7", ["50", "7"]),
        ("(2025), 2019-2026, 2026-11-29, A-12", ["2025", "2019", "2026", "2026", "11", "29", "12"]),
        ("1.5.2026 of version 1.2.3", ["1", "5", "2026", "1", "2", "3"]),
        ("4512,17,3 are three, 1,234,56 too", ["4512", "17", "3", "3", "1", "234", "56"]),
        ("one of twenty-five, two hundred and five thousand", ["25", "205000"]),
        ("one million and sixty seven", ["1000000", "67"]),
        (".5, 7., ½ and m²", ["0.5", "7", "0.5", "2"]),
        ("tens, ninefold, someone, often", []),
    ],
)
def test_numbers_are_read(text, values):
    assert [numeral.value for numeral in numerals(text)] == [Fraction(value) for value in values]


def test_where_and_how_a_number_is_written():
    found = numerals("It fell -1.2 million (3.4%).")
    assert [(numeral.text, numeral.figures, numeral.scale, numeral.minus) for numeral in found] == [
        ("-1.2 million", Fraction("1.2"), 10**6, True),
        ("3.4", Fraction("3.4"), 1, False),
    ]
    assert found[1].start == 22


def test_a_text_that_is_one_number():
    texts = ("40", " 12.5% ", "(1,234)", "-3", "$5", "2 million", "0.5", "0")
    assert [str(number_of(text)) for text in texts] == [
        "40",
        "25/2",
        "-1234",
        "-3",
        "5",
        "2000000",
        "1/2",
        "0",
    ]
    assert [number_of(text) for text in ("007", "", "%", "5 6", "12 EUR", "abc", "5-6")] == [None] * 7


@pytest.mark.parametrize(
    ("text", "source", "missing"),
    [
        ("It closed at 1,234.50.", "close 1234.5", []),
        ("It fell 1.2% to 98.", "change -1.2, close 98.0", []),
        ("It moved by -1.2%.", "change 1.2", ["-1.2"]),
        ("It lost (1,234).", "loss -1,234 or 1,234", []),
        ("1.2 million", "1,200,000", []),
        ("12.5 million", "revenue in millions: 12.5", []),
        ("12.5 million", "revenue: 12.5", ["12.5 million"]),
        ("12.5", "12.5 million", ["12.5"]),
        ("on 29 November 2026", "2026-11-29", []),
        ("101 and 4", "table 101,4", []),
        ("4 and 512", "4,512", ["4", "512"]),
        ("a rise of 3.4 points", "from 10 to 13.4", ["3.4"]),
        ("seven rose", "7 rose", []),
        ("two of seven", "7 rose", ["two"]),
        ("no figure at all", "", []),
    ],
)
def test_numbers_that_do_not_stand_in_a_source_are_named(text, source, missing):
    assert missing_numbers(text, [source]) == missing


def test_derived_numbers_are_sources_too():
    assert missing_numbers("up 3.4 points", ["from 10 to 13.4", Fraction("3.4")]) == []


@pytest.mark.parametrize("piece", ["1,234", "(", "1", "-", "twenty ", "1.", ",1", "$ ", "1.234", "²"])
def test_hostile_texts_take_linear_time(piece):
    def seconds(repeated: int) -> float:
        def once() -> float:
            start = time.process_time()
            numerals(piece * repeated)
            return time.process_time() - start

        return min(once() for _ in range(3))  # other work on the cores lengthens single ones

    assert seconds(8_000) < 20 * seconds(1_000) + 0.05
