"""Diagrams of a job as inline SVG: shares, on an axis from 0 to 1, over confidence, answers given, or examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from tinsmith.evidence import format as words
from tinsmith.report.plots import AXIS_PIXELS, Axis, svg

_LEFT, _RIGHT = 13.0, 97.0  # per cent of the width between which the diagram lies
_TOP, _BOTTOM = 10, 220  # pixels
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Point:
    """A share over some value, with its interval where it has one."""

    x: float
    share: float
    low: float | None = None
    high: float | None = None


def over_shares(points: Sequence[Point], alt: str, *, diagonal: bool = False, joined: bool = False) -> Markup:
    """Draw shares over shares, with the line on which both are equal, or with a line through the points."""
    axis = Axis(0.0, 1.0)
    ticks = [(value, words.percent(value)) for value in _SHARES]
    straight = [_line("lead", _x(axis, 0), _y(0), _x(axis, 1), _y(1))] if diagonal else []
    return _diagram(points, axis, ticks, alt, straight, joined=joined)


def over_counts(points: Sequence[Point], alt: str) -> Markup:
    """Draw shares with their intervals over counts, on a logarithmic axis, joined by a line."""
    counts = [point.x for point in points]
    axis = Axis(min(counts) / 1.1, max(counts) * 1.1, log=True)
    ticks, last = [], -math.inf
    for count in counts:
        if axis.place(count) - last > 14:
            ticks.append((count, words.count(count)))
            last = axis.place(count)
    return _diagram(points, axis, ticks, alt, [], joined=True)


def _diagram(
    points: Sequence[Point],
    axis: Axis,
    ticks: Sequence[tuple[float, str]],
    alt: str,
    parts: list[str],
    *,
    joined: bool,
) -> Markup:
    grid = [_line("grid", _LEFT, _y(share), _RIGHT, _y(share)) for share in _SHARES]
    grid += [
        f'<text class="tick" x="0" y="{_y(share) + 4:.1f}">{escape(words.percent(share))}</text>'
        for share in _SHARES
    ]
    grid += [
        f'<text class="tick" x="{_x(axis, value):.2f}%" y="{_BOTTOM + AXIS_PIXELS - 7}" text-anchor="middle">'
        f"{escape(text)}</text>"
        for value, text in ticks
    ]
    drawn = [*grid, *parts]
    if joined:
        drawn += [
            _line("line", _x(axis, a.x), _y(a.share), _x(axis, b.x), _y(b.share)) for a, b in pairwise(points)
        ]
    for point in points:
        x = _x(axis, point.x)
        if point.low is not None and point.high is not None:
            drawn.append(_line("whisker", x, _y(point.low), x, _y(point.high)))
        if not joined or point.low is not None:
            drawn.append(f'<circle class="dot ours" cx="{x:.2f}%" cy="{_y(point.share):.1f}" r="4.5"/>')
    return svg("".join(drawn), _BOTTOM + AXIS_PIXELS, alt)


def _x(axis: Axis, value: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * axis.place(value) / 100


def _y(share: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * share


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"/>'
