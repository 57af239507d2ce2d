"""Put the boxes of a page in reading order: columns, tables, lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from tinsmith.corpus.readers.boxes import Box, Page
from tinsmith.corpus.readers.grids import Table, aligned_tables, ruled_tables
from tinsmith.corpus.readers.raised import LEVEL

# A column of prose: this many lines on both sides of a gutter this wide (points), most of them filled to this
# share and with this many letters. Tables and forms have shorter cells.
_MIN_LINES = 3
_MIN_GUTTER = 4.0
_MIN_FILL = 0.6
_MIN_LETTERS = 14
_SAME_EDGE = 3.0
_NO_GAP = 0.1  # of the letter height


@dataclass(slots=True)
class Region:
    """The lines and tables of one column from top to bottom, and its left and right edge."""

    items: list[Box | Table] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0


def read_page(page: Page) -> list[Region]:
    """Return a page's regions in reading order, text in another direction last."""
    upright = [box for box in page.boxes if box.upright]
    across = [box for box in page.boxes if not box.upright]
    tables, rest = ruled_tables(upright, page.rules)
    regions = [_region(boxes, placed) for boxes, placed in _ordered(rest, tables)]
    if across:
        regions.append(Region(list(across), min(b.x0 for b in across), max(b.x1 for b in across)))
    return regions


def _ordered(boxes: list[Box], tables: Sequence[Table]) -> list[tuple[list[Box], list[Table]]]:
    """Split the boxes into columns in reading order, and assign each table to the column it is in."""
    parts = [part for part in _columns(boxes) if part]
    homes: list[list[Table]] = [[] for _ in parts]
    alone: list[Table] = []
    for table in tables:
        inside = [number for number, part in enumerate(parts) if _holds(part, table)]
        (homes[inside[0]] if inside else alone).append(table)
    found = list(zip(parts, homes, strict=True))
    for table in alone:
        after = sum(1 for part, _ in found if part and min(box.y0 for box in part) >= table.y1 - 2)
        found.insert(after, ([], [table]))
    return found


def _holds(part: list[Box], table: Table) -> bool:
    left, right = min(box.x0 for box in part), max(box.x1 for box in part)
    middle = (table.x0 + table.x1) / 2
    return left - 5 <= middle <= right + 5 and max(box.y1 for box in part) >= table.y0


def _columns(boxes: list[Box], depth: int = 0) -> list[list[Box]]:
    """Return the boxes of each column in reading order; without a gutter, all boxes in the order of the file."""
    if depth > 4 or len(boxes) < 2 * _MIN_LINES:
        return [boxes]
    best: list[tuple[list[Box], list[Box], list[Box]]] = []
    most = 0
    for edge in _edges(boxes):
        bands = _bands(boxes, edge)
        count = sum(len(left) + len(right) for _, left, right in bands if right)
        if count > most:
            best, most = bands, count
    if not most:
        return [boxes]
    parts: list[list[Box]] = []
    for whole, left, right in best:
        if whole:
            parts.append(whole)
        if right:
            parts += [*_columns(left, depth + 1), *_columns(right, depth + 1)]
    return parts


def _edges(boxes: Sequence[Box]) -> list[float]:
    """Return the x positions where several lines begin: left edges of a possible right-hand column."""
    left, right = min(box.x0 for box in boxes), max(box.x1 for box in boxes)
    starts = sorted(box.x0 for box in boxes if box.x0 > left + 0.15 * (right - left))
    edges: list[float] = []
    at = 0
    while at < len(starts):
        end = at
        while end < len(starts) and starts[end] - starts[at] <= _SAME_EDGE:
            end += 1
        if end - at >= _MIN_LINES:
            edges.append(starts[at])
        at = max(end, at + 1)
    return edges


def _bands(boxes: Sequence[Box], edge: float) -> list[tuple[list[Box], list[Box], list[Box]]]:
    """Cut the page at each box that crosses the gutter. Returns (full width, left, right), top to bottom."""
    crossing = sorted(
        (box for box in boxes if box.x0 < edge - 1 and box.x1 > edge - _MIN_GUTTER),
        key=lambda box: -box.middle,
    )
    sides = [box for box in boxes if not (box.x0 < edge - 1 and box.x1 > edge - _MIN_GUTTER)]
    bands: list[tuple[list[Box], list[Box], list[Box]]] = []
    whole: list[Box] = []
    for upper, lower in zip([None, *crossing], [*crossing, None], strict=True):
        top = upper.middle if upper else float("inf")
        low = lower.middle if lower else float("-inf")
        inside = [box for box in sides if low <= box.middle < top]
        if upper:
            whole.append(upper)
        left = [box for box in inside if box.x1 < edge]
        right = [box for box in inside if box.x0 >= edge - 1]
        if _prose(left) and _prose(right) and _level(left, right):
            bands.append((_as_written(whole, boxes), left, right))
            whole = []
        else:
            whole += inside
    if whole:
        bands.append((_as_written(whole, boxes), [], []))
    return bands


def _as_written(some: list[Box], boxes: Sequence[Box]) -> list[Box]:
    chosen = {id(box) for box in some}
    return [box for box in boxes if id(box) in chosen]


def _prose(side: list[Box]) -> bool:
    """Return whether these are lines of prose: most of them fill their column and have enough letters."""
    if len(side) < _MIN_LINES:
        return False
    width = max(box.x1 for box in side) - min(box.x0 for box in side)
    lines = [(box.x1 - box.x0) / max(width, 1.0) for box in side]
    return median(lines) >= _MIN_FILL and median(len(box.text) for box in side) >= _MIN_LETTERS


def _level(left: list[Box], right: list[Box]) -> bool:
    """Return whether two columns are side by side over half of the shorter one's height."""
    tops = max(box.y1 for box in left), max(box.y1 for box in right)
    lows = min(box.y0 for box in left), min(box.y0 for box in right)
    shared = min(tops) - max(lows)
    return shared > 0.5 * min(tops[0] - lows[0], tops[1] - lows[1])


def _region(boxes: list[Box], ruled: Iterable[Table]) -> Region:
    tables, rest = aligned_tables(boxes)
    lines: list[Box | Table] = list(merge_lines(rest))
    for table in [*tables, *ruled]:
        lines.insert(_place(lines, table), table)
    edges = [(item.x0, item.x1) for item in lines]
    return Region(lines, min((x0 for x0, _ in edges), default=0.0), max((x1 for _, x1 in edges), default=0.0))


def _place(lines: Sequence[Box | Table], table: Table) -> int:
    """Return the index of the first item below a table."""
    return next((n for n, item in enumerate(lines) if item.y1 <= (table.y0 + table.y1) / 2), len(lines))


def merge_lines(boxes: Sequence[Box]) -> list[Box]:
    """Merge consecutive runs on the same line."""
    lines: list[Box] = []
    for box in boxes:
        last = lines[-1] if lines else None
        if last is None or not last.upright or not last.beside(box) or box.x0 < last.x0:
            lines.append(Box(box.text, box.x0, box.y0, box.x1, box.y1, box.size, box.upright))
            continue
        # After a raised or lowered figure, pdfium begins a run without a gap.
        gap = "" if last.text.endswith(LEVEL) and abs(box.x0 - last.x1) < _NO_GAP * box.size else " "
        last.text = f"{last.text}{gap}{box.text}"
        last.x1, last.y0, last.y1 = max(last.x1, box.x1), min(last.y0, box.y0), max(last.y1, box.y1)
        last.size = max(last.size, box.size)
    return lines
