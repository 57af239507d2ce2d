"""The content of a page: runs of words with their boxes, and ruled lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# White space wider than this, in letter heights, splits a line into runs. Runs of one column are merged later.
GAP = 1.0


@dataclass(slots=True)
class Box:
    """A run of words on one line: left, bottom, right and top in points (y upwards), and the letter height."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    size: float
    upright: bool = True

    @property
    def middle(self) -> float:
        """Return the vertical centre."""
        return (self.y0 + self.y1) / 2

    def beside(self, other: Box) -> bool:
        """Return whether both are on one line: they share more than half of the smaller height."""
        shared = min(self.y1, other.y1) - max(self.y0, other.y0)
        return shared > 0.5 * min(self.y1 - self.y0, other.y1 - other.y0)


@dataclass(slots=True)
class Page:
    """The runs of a page in the order of the file, its height, its ruled lines, and how much of it pictures cover."""

    boxes: list[Box]
    height: float = 0.0
    # Ruled lines as (x0, y0, x1, y1): horizontal if y0 == y1, vertical if x0 == x1.
    rules: list[tuple[float, float, float, float]] = field(default_factory=list)
    cover: float = 0.0


def split_words(words: Sequence[Box], walls: Sequence[tuple[float, float, float]] = ()) -> list[Box]:
    """Merge the words of a line into runs, split at wide gaps and at walls (x, y0, y1)."""
    runs: list[Box] = []
    for word in words:
        last = runs[-1] if runs else None
        if last is None or not last.beside(word) or _are_apart(last, word, walls):
            runs.append(Box(word.text, word.x0, word.y0, word.x1, word.y1, word.size))
            continue
        last.text = f"{last.text} {word.text}"
        last.x0, last.x1 = min(last.x0, word.x0), max(last.x1, word.x1)
        last.y0, last.y1 = min(last.y0, word.y0), max(last.y1, word.y1)
        last.size = max(last.size, word.size)
    return runs


def _are_apart(last: Box, word: Box, walls: Sequence[tuple[float, float, float]]) -> bool:
    gap = word.x0 - last.x1
    if gap > GAP * max(last.size, word.size) or gap < -2 * word.size:
        return True
    return any(
        last.x1 - 1 <= x <= word.x0 + 1 and low - 1 <= word.middle <= high + 1 for x, low, high in walls
    )


def rotate_page(boxes: list[Box], angles: Sequence[float]) -> None:
    """Rotate the boxes so that most of the text is upright, and mark those that are not.

    `angles` are those of each box's first letter, in radians, counter-clockwise.
    """
    quarters = [round(angle / (math.pi / 2)) % 4 for angle in angles]
    slanted = [abs(angle / (math.pi / 2) - round(angle / (math.pi / 2))) > 0.05 for angle in angles]
    votes: Counter[int] = Counter()
    for box, quarter in zip(boxes, quarters, strict=True):
        votes[quarter] += len(box.text)
    main = votes.most_common(1)[0][0] if votes else 0
    for box, quarter, slant in zip(boxes, quarters, slanted, strict=True):
        box.upright = quarter == main and not slant
        box.x0, box.y0, box.x1, box.y1 = _rotated(box, main)


def _rotated(box: Box, quarter: int) -> tuple[float, float, float, float]:
    if quarter == 1:
        return box.y0, -box.x1, box.y1, -box.x0
    if quarter == 2:
        return -box.x1, -box.y1, -box.x0, -box.y0
    if quarter == 3:
        return -box.y1, box.x0, -box.y0, box.x1
    return box.x0, box.y0, box.x1, box.y1
