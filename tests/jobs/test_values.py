"""Normalised values: what a span says beyond doubt, and no value where it could be read in two ways."""

import pytest

from tinsmith.jobs.schema import Field
from tinsmith.jobs.values import normalise, read_date, read_money, read_number


@pytest.mark.parametrize(
    ("span", "value"),
    [
        ("December 21, 2015", "2015-12-21"),
        ("Dec. 1st, 2015", "2015-12-01"),
        ("Sept 3 2015", "2015-09-03"),
        ("this 21st day of December, 2015", "2015-12-21"),
        ("3 May 2015 (the Effective Date)", "2015-05-03"),
        ("2015-12-21", "2015-12-21"),
        ("21/12/2015", "2015-12-21"),
        ("12/21/2015", "2015-12-21"),
        ("5.5.2015", "2015-05-05"),
        ("3/4/2015", None),
        ("3/4/2015 (April 3, 2015)", None),
        ("12/21/15", None),
        ("February 30, 2015", None),
        ("May 2015", None),
        ("May 1, 2015 to June 1, 2015", None),
        ("Mayor 3, 2015", None),
    ],
)
def test_dates(span, value):
    assert read_date(span)[0] == value


def test_the_order_of_day_and_month_is_never_guessed():
    assert read_date("3/4/2015") == (None, "day and month could be either way round")


@pytest.mark.parametrize(
    ("span", "value"),
    [
        ("1,452.4", 1452.4),
        ("(2,085)", -2085),
        ("-12.5%", -12.5),
        ("$9.9 million", 9_900_000),
        ("1.452,40", 1452.4),
        ("3,5", 3.5),
        ("0.125", 0.125),
        ("twenty (20) years", 20),
        ("20 or 20", 20),
        ("1.234", None),
        ("1,23,4", None),
        ("10 to 20", None),
        ("twenty", None),
        ("A4", None),
    ],
)
def test_numbers(span, value):
    assert read_number(span)[0] == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("span", "value"),
    [
        ("US$ 1,000", (1000, "USD")),
        ("€ 2.5 million", (2_500_000, "EUR")),
        ("$1,150", (1150, "$")),
        ("($1,150)", (-1150, "$")),
        ("1,000 GBP", (1000, "GBP")),
        ("$5 or €5", None),
        ("1,000", None),
    ],
)
def test_money(span, value):
    found, note = read_money(span)
    assert found == (value and {"amount": pytest.approx(value[0]), "currency": value[1]})
    assert bool(note) == (value is None)


def test_other_types():
    assert normalise(Field("f", type="integer"), "10 units") == (10, "")
    assert normalise(Field("f", type="integer"), "10.5")[0] is None
    assert normalise(Field("f", type="boolean"), "Yes.") == (True, "")
    assert normalise(Field("f", type="boolean"), "perhaps") == (None, "neither yes nor no")
    assert normalise(Field("f", enum=("Delaware", "Ohio")), "OHIO") == ("Ohio", "")
    assert normalise(Field("f", enum=("Delaware",)), "Texas") == (None, "none of the schema's values")
    assert normalise(Field("f"), "Texas") == (None, "")
