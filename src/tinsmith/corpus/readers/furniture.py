"""Remove running headers, footers and page numbers: lines at the same height on many pages."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from tinsmith.corpus.readers.boxes import Box, Page

# Lines examined at each end of a page, and the share of its height that they may be in.
_ENDS = 4
_MARGIN = 0.2
# A running line is on two pages or more and on at least this share. Left and right pages may differ.
_MIN_SHARE = 0.3
_SAME_HEIGHT = 6.0
_DIGITS = re.compile(r"\d+")
_NUMERAL = re.compile(r"\b[ivxlc]+\b")
_PAGE_NUMBER = re.compile(
    r"^(?:[-–—(\[]\s*)?(?:page|pg|p|seite)?\.?\s*(?:[a-z]{1,3}-)?#(?:\s*(?:of|/|von)\s*#)?(?:\s*[-–—)\]])?$"
)


def remove_furniture(pages: Sequence[Page]) -> list[str]:
    """Remove running lines from the pages. Returns the first instance of each, page numbers excepted."""
    ends = [_end_lines(page) for page in pages]
    # Identical pages count once, so that their text is not taken for running lines.
    firsts: dict[tuple[str, ...], int] = {}
    same = [firsts.setdefault(tuple(box.text for box in page.boxes), n) for n, page in enumerate(pages)]
    seen: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, lines in enumerate(ends):
        for line in lines:
            seen[_key(line)].append((same[number], line[0].middle))
    removed: dict[str, str] = {}
    for number, lines in enumerate(ends):
        gone: set[int] = set()
        for line in lines:
            key = _key(line)
            if _runs(seen[key], line[0].middle, key, len(firsts)):
                gone |= {id(box) for box in line}
                removed.setdefault(key, " ".join(box.text for box in line))
        if gone:
            pages[number].boxes = [box for box in pages[number].boxes if id(box) not in gone]
    return [text for key, text in removed.items() if not _PAGE_NUMBER.match(key)]


def _end_lines(page: Page) -> list[list[Box]]:
    """Return the first and last lines of a page that are near its ends."""
    upright = sorted((box for box in page.boxes if box.upright), key=lambda box: -box.middle)
    rows: list[list[Box]] = []
    for box in upright:
        if rows and rows[-1][0].beside(box):
            rows[-1].append(box)
        else:
            rows.append([box])
    if not rows:
        return []
    top, low = page.height, min(0.0, rows[-1][0].y0)
    edge = _MARGIN * (top - low)
    near = [row for row in rows[:_ENDS] if row[0].middle > top - edge]
    near += [row for row in rows[_ENDS:][-_ENDS:] if row[0].middle < low + edge]
    return [sorted(row, key=lambda box: box.x0) for row in near]


def _key(line: Sequence[Box]) -> str:
    text = " ".join(" ".join(box.text for box in line).lower().split())
    return _NUMERAL.sub("#", _DIGITS.sub("#", text)) if len(text) < 12 else _DIGITS.sub("#", text)


def _runs(places: Sequence[tuple[int, float]], height: float, key: str, pages: int) -> bool:
    on = {number for number, middle in places if abs(middle - height) <= _SAME_HEIGHT}
    if len(on) < 2 or len(on) < _MIN_SHARE * pages:
        return False
    # A bare number on a few pages may be a table cell; a page number is on most pages.
    return bool(re.search("[a-z]", key)) or len(on) >= 0.6 * (pages - 1)
