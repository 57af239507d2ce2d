"""Write lines in reading order as Markdown paragraphs, headings and tables."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinsmith.corpus.readers.boxes import Box
from tinsmith.corpus.readers.grids import Table, markdown_table
from tinsmith.corpus.readers.layout import Region
from tinsmith.corpus.text.compounds import JOINING

HYPHEN = "\x02"
# A heading is this much larger than the body text, and at most this many characters long.
_LARGER = 1.18
_MAX_HEADING = 160
_MAX_LEVELS = 4
_ITEM = re.compile(
    r"(?:[•●○▪■◦‣∙·*–—-]|\(?(?:[a-zA-Z]|[ivxIVX]{1,5}|\d{1,3})[.)]|(?:\d{1,3}\.){1,4}\d{0,3}|§|Q:|A:)\s"
)
_ENDS_SENTENCE = re.compile(r"[.!?:;”\"')\]]$")
_CONTINUES = re.compile(r"[a-zà-öø-ÿ(,;]")
_LINE_HYPHEN = re.compile(r"(?<=[a-zA-Zà-öø-ÿ])[-\u2010\u00ad]$")
_LETTER = re.compile(r"[A-Za-z]")


@dataclass(slots=True)
class Block:
    """A paragraph, heading or table; `open` if its last line fills the column, `tight` if no blank line precedes it."""

    text: str
    heading: float = 0.0
    table: bool = False
    open: bool = False
    tight: bool = False


def body_size(pages: Iterable[Sequence[Region]]) -> float:
    """Return the letter height of most of a document's text."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for region in page:
            for item in region.items:
                if isinstance(item, Box):
                    sizes[round(item.size * 2) / 2] += len(item.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def write(pages: Iterable[Sequence[Region]], body: float) -> str:
    """Return the pages as Markdown, with an empty line between paragraphs."""
    blocks: list[Block] = []
    for page in pages:
        for region in page:
            for block in _blocks(region, body):
                last = blocks[-1] if blocks else None
                if last and _continues(last, block):
                    last.text, last.open = join_lines(last.text, block.text), block.open
                else:
                    blocks.append(block)
    levels = {size: level for level, size in enumerate(_levels(blocks), 1)}
    parts: list[str] = []
    for block in blocks:
        text = f"{'#' * levels[block.heading]} {block.text}" if block.heading else block.text
        parts.append(("\n" if block.tight else "\n\n") + text)
    return "".join(parts).strip("\n")


def _levels(blocks: Sequence[Block]) -> dict[float, int]:
    sizes = sorted({block.heading for block in blocks if block.heading}, reverse=True)
    return {size: min(level, _MAX_LEVELS) for level, size in enumerate(sizes, 1)}


def _continues(last: Block, block: Block) -> bool:
    """Return whether a block continues the paragraph of the previous column or page."""
    if last.heading or last.table or block.heading or block.table:
        return False
    if last.text.endswith(HYPHEN) and block.text[:1].isalpha():
        return True
    return last.open and not _ENDS_SENTENCE.search(last.text) and bool(_CONTINUES.match(block.text))


def _blocks(region: Region, body: float) -> list[Block]:
    blocks: list[Block] = []
    pitch = _pitch(region)
    last: Box | None = None
    for item in region.items:
        if isinstance(item, Table):
            blocks.append(Block(markdown_table(item.rows), table=True))
            last = None
            continue
        heading = _heading(item, body)
        full = item.x1 >= region.right - 0.04 * (region.right - region.left) - item.size
        if last is not None and blocks and _belongs(last, item, blocks[-1], heading, region, pitch):
            blocks[-1].text = join_lines(blocks[-1].text, item.text)
            blocks[-1].open = full
        else:
            near = last is not None and 0 < last.middle - item.middle <= 1.25 * pitch
            tight = near and not heading and bool(blocks) and not blocks[-1].heading
            blocks.append(Block(item.text, heading=heading, open=full, tight=tight))
        last = item
    return blocks


def _pitch(region: Region) -> float:
    """Return the usual line spacing in points."""
    lines = [item for item in region.items if isinstance(item, Box)]
    steps = sorted(
        above.middle - below.middle
        for above, below in itertools.pairwise(lines)
        if 0 < above.middle - below.middle < 4 * above.size
    )
    return steps[len(steps) // 3] if steps else 0.0


def _heading(line: Box, body: float) -> float:
    """Return the letter height of a heading, 0 for body text."""
    large = body > 0 and line.size >= _LARGER * body and len(line.text) <= _MAX_HEADING
    return round(line.size) if large and line.upright and len(_LETTER.findall(line.text)) >= 3 else 0.0


def _belongs(last: Box, line: Box, block: Block, heading: float, region: Region, pitch: float) -> bool:
    """Return whether a line belongs to the paragraph or heading of the line above."""
    step = last.middle - line.middle
    if block.heading != heading or not 0 < step <= max(1.35 * pitch, 1.1 * last.size) or not line.upright:
        return False
    if heading:
        return len(block.text) + len(line.text) <= _MAX_HEADING and step < 2 * last.size
    if block.text.endswith(HYPHEN):
        return True
    if _ITEM.match(line.text) or abs(last.size - line.size) > 0.25 * last.size:
        return False
    word = line.text.split(" ", 1)[0]
    letter = (line.x1 - line.x0) / max(len(line.text), 1)
    if last.x1 + (len(word) + 1) * letter < region.right - 0.5 * line.size:
        # The next word would have fitted: the line ended on purpose.
        return False
    # The first line of a paragraph may be indented or outdented.
    inset = line.x0 - last.x0
    return inset <= 0.8 * line.size or bool(_CONTINUES.match(line.text))


def join_lines(above: str, below: str) -> str:
    """Join two lines; a hyphen at the end of the first is marked, for join_hyphens to resolve."""
    if above.endswith(HYPHEN):
        return above + below
    if _LINE_HYPHEN.search(above) and below[:1].islower():
        return above[:-1] + HYPHEN + below
    return f"{above} {below}"


def join_hyphens(text: str) -> str:
    """Resolve marked line-end hyphens: join the word unless the document writes it with a hyphen elsewhere.

    A hyphen before "and" stands for a word that follows, and stays: "short- and long-term".
    """
    if HYPHEN not in text:
        return text
    words = Counter(re.findall(r"\w+(?:-\w+)*", text.lower()))

    def resolve(match: re.Match[str]) -> str:
        left, right = match[1], match[2]
        joined, hyphened = f"{left}{right}", f"{left}-{right}"
        if right.lower() in JOINING and not words[joined.lower()] and not words[hyphened.lower()]:
            return f"{left}- {right}"
        if words[joined.lower()] > words[hyphened.lower()] or not left:
            return joined
        keep = words[hyphened.lower()] or len(left) == 1 or not right[:1].islower() or left[-1].isdigit()
        return hyphened if keep else joined

    return re.sub(rf"(\w*){HYPHEN}[ \n]?(\w*)", resolve, text)
