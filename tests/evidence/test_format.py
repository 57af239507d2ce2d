"""Numbers are written as people read them."""

import pytest

from tinsmith.evidence import format as words


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.number(-0.0004), "0.000"),
        (words.number(-0.25, 2), "−0.25"),
        (words.number(None), "–"),
        (words.significant(1287.0), "1,287"),
        (words.significant(0.0001234), "0.00012"),
        (words.percent(0.581), "58%"),
        (words.size(105_454_368), "105 MB"),
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
