"""Pictures place values where the axis says."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

from tinsmith.report.plots import (
    LABEL_PIXELS,
    Axis,
    Mark,
    _decades,
    _log_ticks,
    _ticks,
    curve,
    histogram,
    intervals,
    scatter,
)


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


def test_a_scatter_has_a_dot_and_a_label_for_each_and_says_all_in_words():
    marks = [(10.0, Mark("one <b>", 0.7, 0.6, 0.8, "", "ours")), (1000.0, Mark("two", 0.9, None, None, ""))]
    picture = scatter(marks, "said", lambda x: f"{x:g}")
    ElementTree.fromstring(picture)
    assert picture.count("<circle") == 2
    assert picture.count('class="span') == 1
    assert "one &lt;b&gt;" in picture
    assert 'aria-label="said"' in picture
    assert [float(x) for x in re.findall(r'text-anchor="middle">([^<]+)<', picture)] == [10, 100, 1000]


def test_labels_of_dots_that_lie_on_each_other_do_not():
    marks = [(100.0, Mark(f"model {n} with a name that is long", 0.7, None, None, "")) for n in range(20)]
    picture = scatter([*marks, (500.0, Mark("far", 0.2, 0.1, 0.3, ""))], "said", str)
    height = float(re.search(r'height="([0-9.]+)">', picture)[1])
    ys = [float(y) for y in re.findall(r'class="label[^>]*y="([0-9.]+)"', picture)]
    assert len(ys) == 21
    assert all(b - a >= LABEL_PIXELS - 0.1 for a, b in itertools.pairwise(ys))
    assert 0 < ys[0] < ys[-1] < height
    assert "model 3 with a name t…" in picture


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (80e6, 310e6, [1e8, 2e8]),
        (5.1, 19.0, [7, 10, 15]),
        (1e6, 1e9, [1e6, 1e7, 1e8, 1e9]),
        (3.2, 3.4, [3.2, 3.4]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round_and_few(low, high, expected):
    assert _log_ticks(low, high) == pytest.approx(expected)
