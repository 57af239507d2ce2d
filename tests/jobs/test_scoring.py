"""How right an answer is."""

import pytest

from tinsmith.jobs.scoring import exact_match, span_f1, spans_f1


@pytest.mark.parametrize(
    ("given", "right", "same"),
    [
        ("The laws of Texas.", "laws of texas", True),
        ("1,496.5", "1496.50", True),
        ("(12)%", "-12%", True),
        ("$9.9 million", "$9,900,000", True),
        ("2019", "2018", False),
        ("fixed-price", "Fixed price", True),
        ("Item 12", "Item 13", False),
        ("1.234", "1.234", True),
        ("", "", True),
    ],
)
def test_exact_match(given, right, same):
    assert exact_match(given, right) is same


def test_f1_is_that_of_shared_words():
    assert span_f1("laws of the State of New York", "the laws of New York") == pytest.approx(2 * 4 / (6 + 4))
    assert span_f1("a b", "c") == 0
    assert span_f1("b b c", "b c") == pytest.approx(0.8)


def test_fields_without_a_value():
    assert spans_f1([], [], several=False) == 1
    assert spans_f1(["x"], [], several=False) == spans_f1([], ["x"], several=True) == 0


def test_several_values_are_compared_together_and_a_single_one_with_the_best():
    assert spans_f1(["Acme Inc", "Bolt"], ["Bolt", "Acme Inc"], several=True) == 1
    assert spans_f1(["Bolt"], ["Acme Inc", "Bolt"], several=True) == pytest.approx(0.5)
    assert spans_f1(["Bolt"], ["Acme Inc", "Bolt"], several=False) == 1
