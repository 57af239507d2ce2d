"""Typeset texts as PDF in columns with running heads, make scans of PDFs, and measure how far what is read is from
the true text."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pypdfium2
from fpdf import FPDF
from rapidfuzz.distance import Levenshtein

from benchmarks.workers.job import Job, read_job, write_json

_SIZE, _LEAD, _MARGIN, _GAP = 10, 5.0, 20.0, 8.0  # points and millimetres
_HYPHENATED = 0.5  # of the long words that do not fit are cut
_VOWELS = "aeiou"
_DPI, _POINTS = 200, 72


class _Paper(FPDF):
    """Pages with a running head and a number at their foot."""

    head = ""

    def header(self) -> None:
        self.set_font("Times", "I", 9)
        self.set_xy(_MARGIN, 9)
        self.cell(self.epw, 5, self.head, align="C")

    def footer(self) -> None:
        self.set_font("Times", "", 9)
        self.set_xy(_MARGIN, -12)
        self.cell(self.epw, 5, f"Page {self.page_no()}", align="C")


def typeset(text: str, head: str, columns: int, seed: int, path: Path) -> None:
    """Write a text in justified lines; long words are cut at a line's end now and then."""
    draw = random.Random(seed)
    paper = _Paper(format="letter")
    paper.head = head
    paper.set_margins(_MARGIN, _MARGIN, _MARGIN)
    paper.set_auto_page_break(False)
    paper.add_page()
    width = (paper.w - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    bottom = paper.h - _MARGIN
    column, y = 0, _MARGIN
    for paragraph in text.split("\n\n"):
        paper.set_font("Times", "", _SIZE)
        lines = _lines(paper, paragraph.split(), width, draw)
        for number, line in enumerate(lines):
            if y + _LEAD > bottom:
                column, y = column + 1, _MARGIN
                if column == columns:
                    column = 0
                    paper.add_page()
                    paper.set_font("Times", "", _SIZE)
            paper.set_xy(_MARGIN + column * (width + _GAP), y)
            spare = width - paper.get_string_width(line)
            paper.set_stretching(100)
            if number + 1 < len(lines) and " " in line and 0 < spare < 0.3 * width:
                x = _MARGIN + column * (width + _GAP)
                words = line.split(" ")
                step = spare / (len(words) - 1)
                for word in words:
                    paper.text(x, y + 3.5, word)
                    x += paper.get_string_width(f"{word} ") + step
            else:
                paper.text(_MARGIN + column * (width + _GAP), y + 3.5, line)
            y += _LEAD
        y += _LEAD / 2
    paper.output(str(path))


def _lines(paper: FPDF, words: list[str], width: float, draw: random.Random) -> list[str]:
    lines, line = [], ""
    for word in words:
        whole = f"{line} {word}".strip()
        if paper.get_string_width(whole) <= width:
            line = whole
            continue
        # A compound is broken at its own hyphen, which stays when the lines are joined.
        first, _, rest = word.partition("-")
        if first.isalpha() and rest and paper.get_string_width(f"{line} {first}-".strip()) <= width:
            line, word = f"{line} {first}-".strip(), rest
        elif len(word) > 7 and word.isalpha() and draw.random() < _HYPHENATED:
            for cut in range(len(word) - 3, 2, -1):
                fits = paper.get_string_width(f"{line} {word[:cut]}-".strip()) <= width
                if fits and word[cut - 1].lower() in _VOWELS:
                    line, word = f"{line} {word[:cut]}-".strip(), word[cut:]
                    break
        if line:
            lines.append(line)
        line = word
    return [*lines, line] if line else lines


def scan(source: Path, path: Path) -> None:
    """Write a PDF of pictures of another PDF's pages, without text."""
    paper = FPDF(format="letter")
    paper.set_auto_page_break(False)
    for page in pypdfium2.PdfDocument(source):
        paper.add_page()
        picture = page.render(scale=_DPI / _POINTS, grayscale=True).to_pil()
        paper.image(picture, 0, 0, paper.w, paper.h)
    paper.output(str(path))


def _fold(text: str) -> str:
    return re.sub(r"(?:[\s#*_\\|]|-{3,})+", " ", text).strip()


def main(job: Job) -> None:
    """`more.task` is typeset (rows text, head, columns, path), scan (source, path) or distance (true, read)."""
    rows = json.loads(Path(job.data).read_text())
    if job.more["task"] == "typeset":
        for number, row in enumerate(rows):
            typeset(row["text"], row["head"], row["columns"], number, Path(row["path"]))
        write_json(job, {"done": len(rows)})
        return
    if job.more["task"] == "scan":
        for row in rows:
            scan(Path(row["source"]), Path(row["path"]))
        write_json(job, {"done": len(rows)})
        return
    pairs = [(_fold(row["true"]), _fold(row["read"])) for row in rows]
    write_json(job, {"rates": [Levenshtein.distance(true, read) / len(true) for true, read in pairs]})


if __name__ == "__main__":
    main(read_job())
