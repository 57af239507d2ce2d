"""Find tables on a page: cells between ruled lines, or clearly aligned columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith.corpus.readers.boxes import Box
from tinsmith.corpus.readers.raised import LEVEL, RAISED

Rule = tuple[float, float, float, float]
# Ruled lines closer than this, in points, are one.
_NEAR = 3.0
_NOTE = f"(?:{RAISED}[^{LEVEL}]*{LEVEL})?"
_NUMBER = re.compile(rf"^[\s$€£¥(+\-–—−]*\d[\d.,\s]*[%)\sxX]*{_NOTE}$|^[-–—−$]+$")
_MIN_ROWS = 3
_MAX_CELL_WORDS = 8


@dataclass(slots=True)
class Table:
    """The cells of a table by row, and its bounding box."""

    rows: list[list[str]]
    x0: float
    y0: float
    x1: float
    y1: float


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as a Markdown table with the first row as header; a single column as plain lines."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    width = max((_filled(row) for row in cells), default=0)
    if width < 2:
        return "\n".join(cell.replace("\\|", "|") for row in cells for cell in row if cell)
    lines = ["| " + " | ".join([*row[:width], *[""] * (width - len(row))]) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def _filled(row: Sequence[str]) -> int:
    return max((number for number, cell in enumerate(row, 1) if cell), default=0)


def ruled_tables(boxes: list[Box], rules: Sequence[Rule]) -> tuple[list[Table], list[Box]]:
    """Find grids of ruled lines with text in two rows and columns or more. Returns (tables, other boxes)."""
    tables: list[Table] = []
    rest = boxes
    for grid in _grids(rules):
        xs, ys = (
            _distinct(x for x0, _, x1, _ in grid for x in (x0, x1) if x0 == x1),
            _distinct(y for _, y0, _, y1 in grid for y in (y0, y1) if y0 == y1),
        )
        if len(xs) < 3 or len(ys) < 3:
            continue
        inside = [
            box for box in rest if xs[0] < (box.x0 + box.x1) / 2 < xs[-1] and ys[0] < box.middle < ys[-1]
        ]
        rows = _cells(inside, xs, ys)
        filled = [sum(map(bool, row)) for row in rows]
        if sum(count >= 2 for count in filled) < 2 or _is_page_frame(rows):
            continue
        chosen = {id(box) for box in inside}
        rest = [box for box in rest if id(box) not in chosen]
        tables.append(Table(rows, xs[0], ys[0], xs[-1], ys[-1]))
    return tables, rest


def _is_page_frame(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the lines frame parts of the page instead of cells: most of the text is in long passages."""
    lengths = [len(cell) for row in rows for cell in row if cell]
    return sum(length for length in lengths if length > 600) > 0.5 * sum(lengths)


def _grids(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Group ruled lines that touch each other."""
    groups: list[list[Rule]] = []
    for rule in rules:
        touched = [group for group in groups if any(_touch(rule, other) for other in group)]
        merged = [rule, *(other for group in touched for other in group)]
        groups = [group for group in groups if not any(group is one for one in touched)]
        groups.append(merged)
    return [group for group in groups if len(group) >= 6]


def _touch(one: Rule, two: Rule) -> bool:
    return (
        one[0] - _NEAR <= two[2]
        and two[0] - _NEAR <= one[2]
        and one[1] - _NEAR <= two[3]
        and two[1] - _NEAR <= one[3]
    )


def _distinct(values: object) -> list[float]:
    found: list[float] = []
    for value in sorted(values):  # type: ignore[call-overload]
        if not found or value - found[-1] > _NEAR:
            found.append(value)
    return found


def _cells(boxes: Sequence[Box], xs: Sequence[float], ys: Sequence[float]) -> list[list[str]]:
    rows: list[list[list[Box]]] = [[[] for _ in xs[1:]] for _ in ys[1:]]
    for box in boxes:
        # A run begins in its cell, but its centre may be in the next one if cells are merged.
        column = max(sum(1 for x in xs if x <= box.x0 + 2) - 1, 0)
        row = sum(1 for y in ys if y > box.middle) - 1
        rows[min(max(row, 0), len(rows) - 1)][min(column, len(xs) - 2)].append(box)
    return [[join_cell(cell) for cell in row] for row in rows]


def join_cell(boxes: Sequence[Box]) -> str:
    """Return the text of a cell, its lines joined by spaces."""
    return " ".join(box.text for box in boxes)


def aligned_tables(boxes: list[Box]) -> tuple[list[Table], list[Box]]:
    """Find rows of several runs that are aligned in columns. Returns (tables, other boxes)."""
    rows = _rows(boxes)
    tables: list[Table] = []
    taken: set[int] = set()
    run: list[list[Box]] = []
    for row in [*rows, []]:
        if len(row) >= 2:
            run.append(row)
            continue
        if len(run) >= _MIN_ROWS and (table := _aligned(run)):
            tables.append(table)
            taken |= {id(box) for line in run for box in line}
        run = []
    return tables, [box for box in boxes if id(box) not in taken] if taken else boxes


def _rows(boxes: Sequence[Box]) -> list[list[Box]]:
    """Group boxes by line, from top to bottom and left to right."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: -box.middle):
        if rows and rows[-1][0].beside(box):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [sorted(row, key=lambda box: box.x0) for row in rows]


def _aligned(rows: Sequence[Sequence[Box]]) -> Table | None:
    """Return the table that the rows form, or None if their cells are not aligned."""
    spans = sorted((box.x0, box.x1) for row in rows for box in row)
    columns = [spans[0]]
    for x0, x1 in spans[1:]:
        if x0 < columns[-1][1] + 1:
            columns[-1] = (columns[-1][0], max(columns[-1][1], x1))
        else:
            columns.append((x0, x1))
    if len(columns) < 2:
        return None
    cells = [[""] * len(columns) for _ in rows]
    for number, row in enumerate(rows):
        for box in row:
            column = next(n for n, (x0, x1) in enumerate(columns) if x0 <= box.x0 <= x1)
            # Two runs of a row may share a column where cells are not aligned.
            cells[number][column] = f"{cells[number][column]} {box.text}".strip()
    texts = [cell for row in cells for cell in row if cell]
    words = [len(text.split()) for text in texts]
    later = [cell for row in cells for cell in row[1:] if cell]
    numbers = sum(bool(_NUMBER.match(cell)) for cell in later) / max(len(later), 1)
    if sum(words) > _MAX_CELL_WORDS * len(words) or numbers < (0.5 if len(columns) == 2 else 0.3):
        return None
    return Table(
        cells,
        columns[0][0],
        min(box.y0 for row in rows for box in row),
        columns[-1][1],
        max(box.y1 for row in rows for box in row),
    )
