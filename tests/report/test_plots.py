"""Pictures place values where the axis says."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from tinsmith.report.plots import Axis, Mark, _decades, _ticks, curve, histogram, intervals


def test_axis_places_linearly_and_by_decades() -> None:
    assert Axis(0.6, 1.0).place(0.7) == pytest.approx(25)
    assert Axis(1, 1e6, log=True).place(1e3) == pytest.approx(50)
    assert Axis(0, 1).place(7) == 100


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.63, 0.93, [0.6, 0.7, 0.8, 0.9, 1.0]), (0, 0.8, [0, 0.2, 0.4, 0.6, 0.8]), (3.0, 3.0, [3.0, 4.0])],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    ticks = _ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    if low != high:
        assert ticks == pytest.approx(expected)


def test_decades_enclose() -> None:
    assert _decades(0.004, 1.3e6)[0] <= 0.004
    assert _decades(0.004, 1.3e6)[-1] >= 1.3e6


def test_dots_and_whiskers_stand_at_their_values() -> None:
    marks = [Mark("a", 0.7, 0.65, 0.75, "0.700", "ours"), Mark("b < c", 0.9, None, None, "0.900")]
    picture = intervals(marks, "two dots", lambda v: f"{v:.4g}")
    ElementTree.fromstring(picture)
    ticks = [float(value) for value in re.findall(r'class="tick"[^>]*>([\d.]+)<', picture)]
    place = Axis(ticks[0], ticks[-1]).place
    assert re.findall(r'cx="([\d.]+)%"', picture) == [f"{place(0.7):.2f}", f"{place(0.9):.2f}"]
    assert f'x1="{place(0.65):.2f}%" x2="{place(0.75):.2f}%"' in picture
    assert "b &lt; c" in picture


def test_bars_start_at_zero() -> None:
    picture = intervals([Mark("a", 0.5, 0.4, 0.6, "50%")], "one bar", str, bars=True)
    assert 'width="' in picture
    assert re.search(r'<rect class="bar other" x="0" y="\d+" width="([\d.]+)%"', picture)
    assert ">0.0<" in picture


def test_curve_is_valid_svg_from_left_to_right() -> None:
    picture = curve([0, 50, 100], [3.0, 2.0, 1.0], "falls", "100 tokens")
    ElementTree.fromstring(picture)
    points = re.search(r'points="([^"]+)"', picture)
    assert points is not None
    assert points[1] == "0.00,0.00 50.00,50.00 100.00,100.00"


def test_a_single_point_does_not_break() -> None:
    for picture in (
        curve([5], [2.0], "one step", "5 tokens"),
        intervals([Mark("a", 1.0, 1.0, 1.0, "1")], "one", str),
    ):
        assert ElementTree.fromstring(picture) is not None
        assert "nan" not in picture


def test_a_histogram_draws_all_and_those_that_stand_out() -> None:
    picture = histogram([(0.0, 0.5, 4, 0), (0.5, 1.0, 8, 6)], "two bins")
    ElementTree.fromstring(picture)
    bars = re.findall(r'class="bar (\w+)" x="([\d.]+)%" width="45.00%" y="[\d.]+" height="([\d.]+)"', picture)
    full = float(bars[2][2])
    assert [(kind, float(x), float(height) / full) for kind, x, height in bars] == [
        ("other", 0, 0.5),
        ("ours", 0, 0),
        ("other", 50, 1),
        ("ours", 50, pytest.approx(0.75, abs=0.01)),
    ]
    assert re.findall(r">([\d.]+)</text>", picture) == ["0", "0.5", "1"]
    assert "8 documents at the highest bar" in picture
    assert "nan" not in histogram([(0.0, 1.0, 0, 0)], "none")
