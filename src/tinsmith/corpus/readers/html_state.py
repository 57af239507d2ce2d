"""State while an HTML page is read: line breaks that are owed, numbers of list items, rows that cells span."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tinsmith.corpus.readers.raised import write_raised

LINE, PARAGRAPH = 1, 2
Attributes = dict[str, str | None]

_SPACES = re.compile(r"[ \t\r\n\f\xa0]+")
_ROMAN = [(1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")]
_ROMAN += [(10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")]
_TYPES = {"1": "decimal", "a": "lower-alpha", "A": "upper-alpha", "i": "lower-roman", "I": "upper-roman"}
_MAX_SPAN = 1000  # rows or columns, as in browsers


@dataclass
class Flow:
    """Collected text; line breaks wait for the next text, so that they never accumulate."""

    parts: list[str] = field(default_factory=list)
    owed: int = 0
    spaced: bool = True
    apart: bool = False
    marked: bool = False
    cells: int = 0  # empty ones at the start of a row

    def owe(self, lines: int) -> None:
        """Have the next text begin on a new line (1) or after an empty one (2), unless it follows a list number."""
        if not self.marked:
            self.owed, self.spaced, self.cells = max(self.owed, lines), True, 0

    def break_line(self) -> None:
        """Break the line; twice in a row gives an empty line."""
        self.owed, self.spaced = min(self.owed + 1, PARAGRAPH), True

    def part(self) -> None:
        """Keep the next word apart from the last one."""
        self.apart = True

    def skip_cells(self, cells: int) -> None:
        """Begin the next cell but so many; empty cells at the start of a row wait for text in it."""
        if self.owed or not self.parts:
            self.cells += cells
        elif cells:
            self.add_exact("\t" * cells)
        self.spaced = self.spaced or cells > 0

    def mark(self, number: str) -> None:
        """Append the number of a list item; its first paragraph is on the same line."""
        self.add_exact(f"{number} ")
        self.spaced = self.marked = True

    def add(self, text: str) -> None:
        """Append text with runs of white space as one space, and none at the start of a line."""
        text = _SPACES.sub(" ", text)
        text = text[1:] if self.spaced and text.startswith(" ") else text
        if text:
            self.add_exact(text)
            self.spaced = text.endswith(" ")

    def add_exact(self, text: str) -> None:
        """Append text as it is."""
        if self.apart and not self.spaced and text[:1].isalnum():
            self.parts.append(" ")
        start = "\n" * self.owed if self.parts else ""
        self.parts.append(start + "\t" * self.cells + text)
        self.owed, self.spaced, self.apart, self.marked, self.cells = 0, False, False, False, 0

    def ends_in_digit(self) -> bool:
        """Return whether a figure would join the number before it."""
        return not self.owed and bool(self.parts) and self.parts[-1][-1:].isdigit()

    def text(self) -> str:
        """Return the text without white space at the ends of lines."""
        return "\n".join(line.rstrip(" \t") for line in write_raised("".join(self.parts)).split("\n"))


class ListNumbers:
    """The numbers that a browser writes before the items of ordered lists."""

    def __init__(self) -> None:
        self._lists: list[tuple[str, int, int] | None] = []  # type, next number, step

    def open(self, tag: str, attributes: Attributes, items: int) -> None:
        """Begin a list of so many items."""
        back = "reversed" in attributes
        start = _integer(attributes.get("start"), items if back else 1)
        kind = _TYPES.get(attributes.get("type") or "1", "decimal")
        self._lists.append((kind, start, -1 if back else 1) if tag == "ol" else None)

    def close(self) -> None:
        """End the innermost list."""
        self._lists.pop()

    def next(self, attributes: Attributes, style: str) -> str:
        """Return the number of the next item, in the list's type or the `list-style`; empty if it has none."""
        if not self._lists or self._lists[-1] is None:
            return ""
        kind, number, step = self._lists[-1]
        number = _integer(attributes.get("value"), number)
        self._lists[-1] = kind, number + step, step
        if "none" in style.split():
            return ""
        named = next(
            (name for name in style.split() if name.endswith(("decimal", "alpha", "latin", "roman"))), kind
        )
        return f"{_written(number, named.replace('latin', 'alpha'))}."


class RowSpans:
    """The columns that cells of the rows above still fill, for each open table."""

    def __init__(self) -> None:
        self._tables: list[list[int]] = []  # rows left, by column
        self._columns: list[int] = []

    def open_table(self) -> None:
        """Begin a table."""
        self._tables.append([])
        self._columns.append(0)

    def close_table(self) -> None:
        """End the innermost table."""
        self._tables.pop()
        self._columns.pop()

    def open_row(self) -> None:
        """Begin a row; what fills columns at the end of the row before it is one row shorter."""
        if self._tables:
            self._columns[-1] = 0

    def close_row(self) -> None:
        """End a row."""
        if self._tables:
            self._skip(len(self._tables[-1]))

    def place(self, attributes: Attributes) -> int:
        """Place the next cell. Returns the number of columns before it that cells above fill."""
        if not self._tables:
            return 0
        filled = self._skip(1)
        left, column = self._tables[-1], self._columns[-1]
        wide, high = (
            min(max(_integer(attributes[name], 1), 1), _MAX_SPAN) if name in attributes else 1
            for name in ("colspan", "rowspan")
        )
        if high > 1:
            left += [0] * (column + wide - len(left))
            left[column : column + wide] = [high - 1] * wide
        self._columns[-1] += wide
        return filled

    def _skip(self, free: int) -> int:
        """Pass filled columns up to so many free ones. Returns how many were filled."""
        left, filled = self._tables[-1], 0
        while self._columns[-1] < len(left):
            if left[self._columns[-1]]:
                left[self._columns[-1]] -= 1
                filled += 1
            else:
                free -= 1
                if not free:
                    break
            self._columns[-1] += 1
        return filled


def _integer(value: str | None, default: int) -> int:
    try:
        return int(value or "")
    except ValueError:
        return default


def _written(number: int, kind: str) -> str:
    text = str(number)
    if kind.endswith("alpha") and number > 0:
        text = ""
        while number:
            number, digit = divmod(number - 1, 26)
            text = chr(ord("a") + digit) + text
    elif kind.endswith("roman") and 0 < number < 4000:
        text = ""
        for value, letters in _ROMAN:
            times, number = divmod(number, value)
            text += letters * times
    return text.upper() if kind.startswith("upper") else text
