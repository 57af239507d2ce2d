"""Pictures as inline SVG: positions in per cent, text in pixels, so that they fit a phone and a printed page.

Colours are classes that the page's style sheet fills, so that a picture follows the light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

ROW_PIXELS = 46
BAR_PIXELS = 38  # of a row of the first screen
AXIS_PIXELS = 24
CURVE_PIXELS = 200
# How much of a curve's width its axis labels take, in per cent of the rest.
LABELS = 13
# Of a scatter: its dots and its labels in per cent of the width, chosen so that a label fits beside them on a phone.
SCATTER_LEFT, SCATTER_RIGHT, SCATTER_LABELS = 12, 48, 54
LABEL_PIXELS, LABEL_CHARACTERS = 19, 22


@dataclass(frozen=True)
class Mark:
    """One row of a picture: a value, its interval where known, and the text beside it."""

    label: str
    value: float
    low: float | None
    high: float | None
    shown: str
    kind: str = "other"


@dataclass(frozen=True)
class Axis:
    """Maps values to per cent of the width."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return the position in per cent, kept inside."""
        low, high, value = (self._scale(v) for v in (self.low, self.high, value))
        return min(100.0, max(0.0, 100 * (value - low) / ((high - low) or 1.0)))

    def _scale(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value


def intervals(
    marks: Sequence[Mark], alt: str, tick: Callable[[float], str], *, bars: bool = False, log: bool = False
) -> Markup:
    """Draw a row per mark: dot (or bar from zero) and interval over a common axis."""
    values = [v for mark in marks for v in (mark.value, mark.low, mark.high) if v is not None]
    ticks = _decades(min(values), max(values)) if log else _ticks(0.0 if bars else min(values), max(values))
    axis = Axis(ticks[0], ticks[-1], log)
    height = len(marks) * ROW_PIXELS + AXIS_PIXELS
    parts = [_grid(axis, ticks, tick, height)]
    for n, mark in enumerate(marks):
        parts.append(_row(mark, axis, n * ROW_PIXELS, bars))
    return svg("".join(parts), height, alt)


def bars(marks: Sequence[Mark], alt: str, shares: bool) -> Markup:
    """Draw a bar from zero with its interval for each mark, in few pixels: shares over the whole of an axis to 1."""
    highest = 1.0 if shares else max(mark.value if mark.high is None else mark.high for mark in marks)
    axis = Axis(0.0, highest)
    parts = []
    for n, mark in enumerate(marks):
        top, x = n * BAR_PIXELS, axis.place(mark.value)
        y = top + 27
        parts.append(_texts(mark, top + 14))
        parts.append(f'<rect class="rail" x="0" y="{y - 5}" width="100%" height="10" rx="2"/>')
        parts.append(
            f'<rect class="bar {mark.kind}" x="0" y="{y - 5}" width="{max(x, 0.4):.2f}%" height="10" rx="2"/>'
        )
        if mark.low is not None and mark.high is not None:
            low, high = axis.place(mark.low), axis.place(mark.high)
            parts.append(f'<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="{y}" y2="{y}"/>')
            parts += [
                f'<line class="whisker" x1="{end:.2f}%" x2="{end:.2f}%" y1="{y - 4}" y2="{y + 4}"/>'
                for end in (low, high)
            ]
    return svg("".join(parts), len(marks) * BAR_PIXELS, alt)


def _texts(mark: Mark, y: int) -> str:
    return (
        f'<text class="label {mark.kind}" x="0" y="{y}">{escape(mark.label)}</text>'
        f'<text class="shown {mark.kind}" x="100%" y="{y}" text-anchor="end">{escape(mark.shown)}</text>'
    )


def _grid(axis: Axis, ticks: Sequence[float], tick: Callable[[float], str], height: int) -> str:
    lines = []
    for n, value in enumerate(ticks):
        x = axis.place(value)
        anchor = "start" if n == 0 else "end" if n == len(ticks) - 1 else "middle"
        bottom = height - AXIS_PIXELS
        lines.append(f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="{bottom}"/>')
        lines.append(
            f'<text class="tick" x="{x:.2f}%" y="{height - 7}" text-anchor="{anchor}">'
            f"{escape(tick(value))}</text>"
        )
    return "".join(lines)


def _row(mark: Mark, axis: Axis, top: int, bars: bool) -> str:
    y, x = top + 32, axis.place(mark.value)
    parts = [_texts(mark, top + 18)]
    if bars:
        parts.append(
            f'<rect class="bar {mark.kind}" x="0" y="{y - 6}" width="{max(x, 0.4):.2f}%" height="12" rx="2"/>'
        )
    if mark.low is not None and mark.high is not None:
        ends = axis.place(mark.low), axis.place(mark.high)
        parts.append(
            f'<line class="span {mark.kind}" x1="{ends[0]:.2f}%" x2="{ends[1]:.2f}%" y1="{y}" y2="{y}"/>'
        )
    if not bars:
        parts.append(f'<circle class="dot {mark.kind}" cx="{x:.2f}%" cy="{y}" r="5"/>')
    return "".join(parts)


def scatter(marks: Sequence[tuple[float, Mark]], alt: str, tick: Callable[[float], str]) -> Markup:
    """Draw a dot with its interval per mark over a logarithmic axis; a line leads from each to its label."""
    marks = sorted(marks, key=lambda pair: (-pair[1].value, pair[0]))
    xs = [x for x, _ in marks]
    values = [v for _, mark in marks for v in (mark.value, mark.low, mark.high) if v is not None]
    # With a margin on both sides, so that no dot lies on the edge.
    x_axis, y_ticks = Axis(min(xs) / 1.15, max(xs) * 1.15, log=True), _ticks(min(values), max(values), 4)
    y_axis, top = Axis(y_ticks[0], y_ticks[-1]), 18
    bottom = max(CURVE_PIXELS, LABEL_PIXELS * len(marks) + top) + top

    def across(value: float) -> float:
        return SCATTER_LEFT + (SCATTER_RIGHT - SCATTER_LEFT) * x_axis.place(value) / 100

    def height(value: float) -> float:
        return bottom - (bottom - top) * y_axis.place(value) / 100

    parts = []
    for value in y_ticks:
        y = height(value)
        parts.append(f'<line class="grid" x1="0" x2="{SCATTER_RIGHT}%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="0" y="{y - 4:.1f}">{value:.6g}</text>')
    for value in _log_ticks(x_axis.low, x_axis.high):
        place, text = f'x="{across(value):.2f}%" y="{bottom + AXIS_PIXELS - 7}"', escape(tick(value))
        parts.append(f'<text class="tick" {place} text-anchor="middle">{text}</text>')
    labels = _spread([height(mark.value) for _, mark in marks], LABEL_PIXELS, top, bottom)
    ends = SCATTER_RIGHT, SCATTER_LABELS - 1
    for (value, mark), y in zip(marks, labels, strict=True):
        parts.append(_point(mark, across(value), height))
        parts += [
            f'<line class="lead" x1="{a:.2f}%" y1="{b:.1f}" x2="{c:.2f}%" y2="{y:.1f}"/>'
            for a, b, c in ((across(value), height(mark.value), ends[0]), (ends[0], y, ends[1]))
        ]
        parts.append(
            f'<text class="label {mark.kind}" x="{SCATTER_LABELS}%" y="{y + 4:.1f}">{escape(_cut(mark.label))}</text>'
        )
    return svg("".join(parts), bottom + AXIS_PIXELS, alt)


def _point(mark: Mark, x: float, height: Callable[[float], float]) -> str:
    dot = f'<circle class="dot {mark.kind}" cx="{x:.2f}%" cy="{height(mark.value):.1f}" r="5"/>'
    if mark.low is None or mark.high is None:
        return dot
    ends = f'y1="{height(mark.low):.1f}" y2="{height(mark.high):.1f}"'
    return f'<line class="span {mark.kind}" x1="{x:.2f}%" x2="{x:.2f}%" {ends}/>{dot}'


def _spread(heights: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """Return positions near the given ones, which ascend, at least `gap` apart between top and bottom."""
    places: list[float] = []
    for y in heights:
        places.append(max(y, places[-1] + gap if places else top))
    for n in reversed(range(len(places))):
        places[n] = min(places[n], bottom)
        bottom = places[n] - gap
    return places


def _cut(label: str) -> str:
    return label if len(label) <= LABEL_CHARACTERS else label[: LABEL_CHARACTERS - 1] + "…"


def _log_ticks(low: float, high: float) -> list[float]:
    """Return round values between low and high: the fewest that show the scale, at least two where possible."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for factors in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        found = [v for n in powers for factor in factors if low <= (v := factor * 10.0**n) <= high]
        if len(found) > 1:
            break
    return found or [low, high]


def curve(xs: Sequence[float], ys: Sequence[float], alt: str, x_label: str) -> Markup:
    """Draw a line with its axis from the lowest to the highest round value of each direction."""
    x_axis, y_ticks = Axis(min(xs), max(xs)), _ticks(min(ys), max(ys), 4)
    y_axis = Axis(y_ticks[0], y_ticks[-1])
    top, height = 18, CURVE_PIXELS - AXIS_PIXELS - 18
    points = " ".join(
        f"{x_axis.place(x):.2f},{100 - y_axis.place(y):.2f}" for x, y in zip(xs, ys, strict=True)
    )
    parts = []
    for value in y_ticks:
        y = top + height * (1 - y_axis.place(value) / 100)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts.append(
        f'<svg y="{top}" width="100%" height="{height}" viewBox="0 0 {100 + LABELS} 100" preserveAspectRatio="none">'
        f'<polyline class="line" points="{points}" vector-effect="non-scaling-stroke"/></svg>'
    )
    for value in y_ticks:
        y = top + height * (1 - y_axis.place(value) / 100) - 4
        parts.append(f'<text class="tick" x="100%" y="{y:.1f}" text-anchor="end">{value:.6g}</text>')
    foot = CURVE_PIXELS - 7
    parts.append(f'<text class="tick" x="0" y="{foot}">0</text>')
    end = 100 * 100 / (100 + LABELS)
    parts.append(f'<text class="tick" x="{end:.2f}%" y="{foot}" text-anchor="end">{escape(x_label)}</text>')
    return svg("".join(parts), CURVE_PIXELS, alt)


def histogram(bins: Sequence[tuple[float, float, int, int]], alt: str) -> Markup:
    """Draw a bar per bin (low, high, count, how many of the count stand out) over one axis of equal bins."""
    axis = Axis(bins[0][0], bins[-1][1])
    highest, bottom = max(max(count for _, _, count, _ in bins), 1), CURVE_PIXELS - AXIS_PIXELS
    parts = []
    for low, high, count, part in bins:
        x, width = axis.place(low), 0.9 * (axis.place(high) - axis.place(low))
        for kind, amount in (("other", count), ("ours", part)):
            tall = (bottom - 18) * amount / highest
            parts.append(
                f'<rect class="bar {kind}" x="{x:.2f}%" width="{width:.2f}%" y="{bottom - tall:.1f}" '
                f'height="{tall:.1f}"/>'
            )
    parts.append(f'<line class="grid" x1="0" x2="100%" y1="{bottom}" y2="{bottom}"/>')
    foot = CURVE_PIXELS - 7
    for value, place, anchor in (
        (axis.low, 0, "start"),
        ((axis.low + axis.high) / 2, 50, "middle"),
        (axis.high, 100, "end"),
    ):
        parts.append(f'<text class="tick" x="{place}%" y="{foot}" text-anchor="{anchor}">{value:g}</text>')
    parts.append(f'<text class="tick" x="0" y="12">{highest:,} documents at the highest bar</text>')
    return svg("".join(parts), CURVE_PIXELS, alt)


def svg(inside: str, height: int, alt: str) -> Markup:
    """Return a picture of the whole width, with words for it."""
    # Every text inside was escaped where it was put in.
    return Markup(
        f'<svg class="plot" role="img" aria-label="{escape(alt)}" width="100%" height="{height}">'
        f"{inside}</svg>"
    )


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round values at equal steps that enclose low and high."""
    width = (high - low) or abs(high) or 1.0
    raw = width / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, math.ceil((last - first) / 5))
    return [10.0**n for n in range(first, last + step, step)]
