"""Numbers are written as people read them."""

import pytest

from tinsmith.evidence import format as words
from tinsmith.evidence.schema import MetricRow


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.number(-0.0004), "0.000"),
        (words.number(-0.25, 2), "−0.25"),
        (words.number(None), "–"),
        (words.number(1234.5678), "1,234.568"),
        (words.significant(None), "–"),
        (words.significant(0), "0"),
        (words.significant(0.999), "1.00"),
        (words.significant(123.4), "123"),
        (words.significant(-0.0456), "−0.046"),
        (words.significant(1.23456e-12), "0.000000000"),
        (words.setting(0.25), "0.25"),
        (words.setting(3.0), "3"),
        (words.setting(1e-9), "0.000000001"),
        (words.count(1234.4), "1,234"),
        (words.count(None), "–"),
        (words.percent(None), "–"),
        (words.percent(0.1234, 1), "12.3%"),
        (words.span(0.12345, 0.5), "0.123 to 0.500"),
        (words.span(1, 2, 1), "1.0 to 2.0"),
        (words.significant(1287.0), "1,287"),
        (words.significant(0.0001234), "0.00012"),
        (words.percent(0.581), "58%"),
        (words.size(105_454_368), "105 MB"),
        (words.size(None), "–"),
        (words.size(1e9), "1.00 GB"),
        (words.size(2048), "2.05 kB"),
        (words.size(12), "12.0 B"),
        (words.size(0.5), "0.500 B"),
        (words.size(-2e6), "−2.00 MB"),
        (words.big(1e12), "1.00 T"),
        (words.big(1e9), "1.00 B"),
        (words.big(4500), "4.50 k"),
        (words.big(12), "12.0"),
        (words.energy(None), "–"),
        (words.energy(1287), "1.3 MWh"),
        (words.energy(1), "1.0 kWh"),
        (words.energy(0.00025), "0.25 Wh"),
        (words.energy_span(1, 2), "1.0 to 2.0 kWh"),
        (words.energy_span(-2, -1), "−2.0 to −1.0 kWh"),
        (words.energy_span(0, 0.0001), "0 to 0.10 Wh"),
        (words.mass(None), "–"),
        (words.mass(2_500_000), "2.5 t"),
        (words.mass(1500), "1.5 kg"),
        (words.mass(1), "1.0 g"),
        (words.mass_span(0.5, 1500), "0.00050 to 1.5 kg"),
        (words.money(None, "EUR"), "–"),
        (words.money(1e-4, "EUR"), "EUR 0.00010"),
        (words.money_span(0.00001, 1e-4), "0.000010 to 0.00010"),
        (words.money_span(0.0, 0.00009), ""),
        (words.duration(None), "–"),
        (words.duration(89.9), "90 s"),
        (words.duration(90), "1.5 min"),
        (words.duration(5399), "90.0 min"),
        (words.duration(5400), "1.5 h"),
        (words.duration(48 * 3600 - 1), "48.0 h"),
        (words.duration(48 * 3600), "2.0 days"),
        (words.listing([]), ""),
        (words.listing(["a"]), "a"),
        (words.listing(["a", "b"]), "a and b"),
        (words.plural(1, "file"), "1 file"),
        (words.plural(1200, "file"), "1,200 files"),
        (words.points(0.13), "+13 points"),
        (words.points(0), "0 points"),
        (words.difference(None, "share"), "–"),
        (words.big(134_515_008), "135 M"),
        (words.energy(0.000129), "0.13 Wh"),
        (words.energy(1_287_000), "1.3 GWh"),
        (words.mass(0.71), "710 mg"),
        (words.money(0.000007, "EUR"), "under EUR 0.0001"),
        (words.money(0.0, "EUR"), "EUR 0"),
        (words.duration(14.21), "14 s"),
        (words.duration(488), "8.1 min"),
        (words.listing(["a", "b", "c"]), "a, b and c"),
        (words.readable("no_text_layer"), "No text layer"),
        (words.readable("spam:links"), "Spam, links"),
        (words.figure(0.581, "share"), "58%"),
        (words.figure(0.9061, "bits/byte"), "0.906"),
        (words.figure(168.04, "tokens/s"), "168"),
        (words.figure(None, "share"), "–"),
        (words.difference(-0.13, "share"), "−13 points"),
        (words.difference(-0.13, "bits/byte"), "−0.130"),
        (words.points(-0.13), "−13 points"),
        (words.energy_span(0.0019, 0.0086), "1.9 to 8.6 Wh"),
    ],
)
def test_written(written: str, expected: str) -> None:
    assert written == expected


def test_asides_are_escaped_before_they_are_marked() -> None:
    marked = words.quiet_asides("a <b> (c)")
    assert str(marked) == 'a &lt;b&gt; <span class="aside">(c)</span>'


def test_a_share_stands_with_its_interval_or_alone() -> None:
    row = MetricRow(metric="accuracy", subject="trained", value=0.5, low=0.25, high=0.75)
    assert words.share_span(row) == "50% (25% to 75%)"
    bare = MetricRow(metric="accuracy", subject="trained", value=0.5)
    assert words.share_span(bare) == "50% (50% to 50%)"
