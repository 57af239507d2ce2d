"""Extract words with boxes, ruled lines and pictures from a page of a PDF with pdfium."""

from __future__ import annotations

import ctypes
import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

from tinsmith.corpus.readers.boxes import Box, Page, rotate_page, split_words
from tinsmith.corpus.readers.pdf_forms import Annotations, insert_values
from tinsmith.corpus.readers.pdf_hidden import Drawing, Fill, Word, count_runs, find_hidden, object_colour
from tinsmith.corpus.readers.raised import LEVEL, LOWERED, RAISED

HYPHEN = "\x02"
_TOKEN = re.compile(rf"[\r\n]+|[^\s{HYPHEN}]*{HYPHEN}|[^\s{HYPHEN}]+")
_LOST_LIGATURE = re.compile(r"(?<=[A-Za-z])\0(?=[a-z])")
_SURROGATE = re.compile("[\ud800-\udfff]")
# The greatest thickness and the least length of a ruled line, in points.
_THIN, _LONG = 2.5, 12.0
# A page with more paths than this is a drawing, and its lines are no table rules.
_MAX_PATHS = 3000
_UPRIGHT = 0.1  # radians
_DIGIT = re.compile(r"\d")
# A raised letter is smaller than its line and this much higher, a lowered one this much lower, as shares of its height.
_SMALL, _RISE, _FALL = 0.9, 0.12, 0.04


def extract_page(page: Any, form: Any | None = None) -> tuple[Page, Annotations, dict[str, int]]:
    """Return the words and ruled lines of a pdfium page, its annotations, and its runs of hidden words by cause.

    `form` is the document's form environment; the values of fields are among the words.
    """
    notes = Annotations(page, form)
    drawing = _drawing(page)
    text_page = page.get_textpage()
    try:
        lines = list(_lines(page_text(text_page), text_page))
        starts = list(itertools.accumulate(map(len, lines[:-1]), initial=0))
        hidden = find_hidden(page, [word for line in lines for word in line], drawing)
    finally:
        text_page.close()
    rules = drawing.rules
    walls = [(x0, y0, y1) for x0, y0, x1, y1 in rules if x0 == x1]
    boxes: list[Box] = []
    angles: list[float] = []
    for start, line in zip(starts, lines, strict=False):
        words = [word.box for number, word in enumerate(line, start) if number not in hidden]
        angle = line[0].angle if line else 0.0
        # The words of a rotated line follow each other along another axis.
        runs = split_words(words, walls) if abs(angle) <= _UPRIGHT else [_joined(words)] if words else []
        boxes.extend(runs)
        angles.extend([angle] * len(runs))
    if any(angles):
        rotate_page(boxes, angles)
        rules = []
    insert_values(boxes, notes.values)
    heights = [box.y1 for box in boxes]
    return Page(boxes, max(heights, default=0.0), rules, drawing.cover), notes, count_runs(hidden, starts)


def _joined(words: list[Box]) -> Box:
    return Box(
        " ".join(word.text for word in words),
        min(word.x0 for word in words),
        min(word.y0 for word in words),
        max(word.x1 for word in words),
        max(word.y1 for word in words),
        words[0].size,
    )


def page_text(text_page: Any) -> str:
    """Return one character per pdfium index: U+0002 for a line-end hyphen, U+0000 for a glyph without a character."""
    count = text_page.count_chars()
    text: str = text_page.get_text_range() if count else ""
    if len(text) == count and "\ufffe" not in text:
        return text
    # In one string, pdfium writes U+FFFE for both, and omits other characters; one by one it distinguishes them.
    import pypdfium2.raw as raw

    return "".join(chr(raw.FPDFText_GetUnicode(text_page, index) & 0xFFFF) for index in range(count))


def restore_ligatures(text: str) -> str:
    """Replace U+0000 within a word by the ligature ffi or ffl."""
    return _LOST_LIGATURE.sub(_ligature, text)


def _ligature(lost: re.Match[str]) -> str:
    # Old TeX fonts lose exactly these two. In English a vowel follows ffl (baffle, affluent, affliction),
    # and a consonant follows ffi (difficult, office, affidavit).
    return "ffl" if lost.string[lost.end()] in "aeiouy" else "ffi"


def _lines(text: str, text_page: Any) -> Iterator[list[Word]]:
    """Yield pdfium's lines as words; raised and lowered figures are marked."""
    import pypdfium2.raw as raw

    handle, rect = text_page.raw, raw.FS_RECTF()
    pointer = ctypes.byref(rect)
    loose, angle_of, item_of = (
        raw.FPDFText_GetLooseCharBox,
        raw.FPDFText_GetCharAngle,
        raw.FPDFText_GetTextObject,
    )
    line: list[Word] = []
    angle = 0.0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0] in "\r\n":
            if line:
                yield line
            line = []
            continue
        if token == HYPHEN and line:
            line[-1].box.text += HYPHEN
            yield line
            line = []
            continue
        start, end = found.span()
        loose(handle, start, pointer)
        x0, y0, x1, y1 = rect.left, rect.bottom, rect.right, rect.top
        if not line:
            angle = angle_of(handle, start)
            angle = 0.0 if angle < 0 or angle > 2 * math.pi - 0.01 else angle
        item = item_of(handle, start)
        last = end - 1 - token.endswith(HYPHEN)
        if last > start:
            loose(handle, last, pointer)
            x0, x1 = min(x0, rect.left), max(x1, rect.right)
            y0, y1 = min(y0, rect.bottom), max(y1, rect.top)
            if not angle and _DIGIT.search(token) and not _same(item, item_of(handle, last)):
                token = _mark_shifted(text_page, start, token)
        size = (x1 - x0) / max(len(token) * 0.5, 1) if angle else y1 - y0
        line.append(Word(Box(_decoded(token), x0, y0, x1, y1, size), angle, item))
        if token.endswith(HYPHEN):
            yield line
            line = []
    if line:
        yield line


def _same(one: Any, two: Any) -> bool:
    return bool(one) and bool(two) and ctypes.addressof(one.contents) == ctypes.addressof(two.contents)


def _mark_shifted(text_page: Any, start: int, token: str) -> str:
    """Mark the letters of a word that are above or below its line: smaller ones, or by a quarter of their height."""
    import pypdfium2.raw as raw

    handle, rect = text_page.raw, raw.FS_RECTF()
    x, y = ctypes.c_double(), ctypes.c_double()
    heights, bases = [], []
    for index in range(start, start + len(token)):
        raw.FPDFText_GetLooseCharBox(handle, index, ctypes.byref(rect))
        raw.FPDFText_GetCharOrigin(handle, index, ctypes.byref(x), ctypes.byref(y))
        heights.append(rect.top - rect.bottom)
        bases.append(y.value)
    full = max(heights)
    base = bases[heights.index(full)]
    marks = (
        [_shift(height / full, (at - base) / full) for height, at in zip(heights, bases, strict=True)]
        if full
        else []
    )
    parts: list[str] = []
    for (mark, _), group in itertools.groupby(
        zip(marks, token, strict=False), key=lambda pair: (pair[0], None)
    ):
        letters = "".join(letter for _, letter in group)
        parts.append(f"{mark}{letters}{LEVEL}" if mark else letters)
    return "".join(parts) or token


def _shift(height: float, rise: float) -> str:
    """Return the mark of a letter, given its height and rise as shares of its line's height."""
    small = height < _SMALL
    if rise > (_RISE if small else 2 * _RISE):
        return RAISED
    return LOWERED if rise < -(_FALL if small else 2 * _RISE) else ""


def _decoded(token: str) -> str:
    if "\0" in token:
        token = restore_ligatures(token)
    if _SURROGATE.search(token):
        return token.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return token


def _drawing(page: Any) -> Drawing:
    """Return what a page draws; without lines and fills if it has more paths than a page of text has."""
    import pypdfium2.raw as raw

    handle, count = page.raw, raw.FPDFPage_CountObjects(page.raw)
    bounds = tuple(ctypes.c_float() for _ in range(4))
    pointers = [ctypes.byref(bound) for bound in bounds]
    drawing = Drawing()
    width, height = page.get_size()
    paths = 0
    for index in range(count):
        item = raw.FPDFPage_GetObject(handle, index)
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            drawing.texts[ctypes.addressof(item.contents)] = index
        if kind not in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM):
            continue
        paths += kind == raw.FPDF_PAGEOBJ_PATH
        if paths > _MAX_PATHS or not raw.FPDFPageObj_GetBounds(item, *pointers):
            continue
        x0, y0, x1, y1 = (bound.value for bound in bounds)
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            drawing.pictures.append((x0, y0, x1, y1))
            drawing.cover += (x1 - x0) * (y1 - y0) / max(width * height, 1.0)
            continue
        if kind == raw.FPDF_PAGEOBJ_FORM:
            drawing.fills.append(Fill(index, (x0, y0, x1, y1), None))
            continue
        drawing.rules.extend(_edges(x0, y0, x1, y1))
        if min(x1 - x0, y1 - y0) >= _THIN and (fill := _fill(item)):
            drawing.fills.append(Fill(index, (x0, y0, x1, y1), fill))
    if paths > _MAX_PATHS:
        drawing.rules, drawing.fills = [], []
    return drawing


def _fill(path: Any) -> tuple[int, int, int, int] | None:
    """Return the colour that a path is filled with; None if it is only drawn, or transparent."""
    import pypdfium2.raw as raw

    mode, stroke = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(path, ctypes.byref(mode), ctypes.byref(stroke))
    colour = object_colour(path, raw.FPDFPageObj_GetFillColor) if mode.value else (0, 0, 0, 0)
    return colour if colour[3] else None


def _edges(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float, float, float]]:
    """Return the ruled lines of a path, given its bounds: one for a thin path, four for a frame."""
    wide, high = x1 - x0, y1 - y0
    if wide < _THIN and high < _THIN:
        return []
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    if high < _THIN:
        return [(x0, y, x1, y)] if wide > _LONG else []
    if wide < _THIN:
        return [(x, y0, x, y1)] if high > 0.5 * _LONG else []
    return [(x0, y0, x1, y0), (x0, y1, x1, y1), (x0, y0, x0, y1), (x1, y0, x1, y1)]
