"""Extract words with boxes, ruled lines and pictures from a page of a PDF with pdfium."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator
from typing import Any

from tinsmith.corpus.readers.boxes import Box, Page, rotate_page, split_words

HYPHEN = "\x02"
_TOKEN = re.compile(rf"[\r\n]+|[^\s{HYPHEN}]*{HYPHEN}|[^\s{HYPHEN}]+")
_LOST_LIGATURE = re.compile(r"(?<=[A-Za-z])\0(?=[a-z])")
_SURROGATE = re.compile("[\ud800-\udfff]")
# The greatest thickness and the least length of a ruled line, in points.
_THIN, _LONG = 2.5, 12.0
# A page with more paths than this is a drawing, and its lines are no table rules.
_MAX_PATHS = 3000


def extract_page(page: Any) -> Page:
    """Return the runs of words and the ruled lines of a pdfium page."""
    text_page = page.get_textpage()
    try:
        text = page_text(text_page)
        rules = _rules(page)
        walls = [(x0, y0, y1) for x0, y0, x1, y1 in rules if x0 == x1]
        boxes: list[Box] = []
        angles: list[float] = []
        for line in _lines(text, text_page):
            words = [word for word, _ in line]
            if abs(line[0][1]) > 0.1:
                # The words of a rotated line follow each other along another axis.
                runs, run_angles = [_joined(words)], [line[0][1]]
            else:
                runs = split_words(words, walls)
                run_angles = [line[0][1]] * len(runs)
            boxes.extend(runs)
            angles.extend(run_angles)
    finally:
        text_page.close()
    if any(angles):
        rotate_page(boxes, angles)
        rules = []
    heights = [box.y1 for box in boxes]
    return Page(boxes, max(heights, default=0.0), rules)


def filled_in(page: Any) -> list[str]:
    """Return what was filled into the form fields of a page, as `name: value`, and written onto it as notes."""
    import pypdfium2.raw as raw

    lines = []
    for number in range(raw.FPDFPage_GetAnnotCount(page.raw)):
        annotation = raw.FPDFPage_GetAnnot(page.raw, number)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET and (value := _annotation_text(annotation, b"V")) not in ("", "Off"):
            lines.append(f"{_annotation_text(annotation, b'T')}: {value}".removeprefix(": "))
        elif kind == raw.FPDF_ANNOT_FREETEXT and (value := _annotation_text(annotation, b"Contents")):
            lines.append(value)
        raw.FPDFPage_CloseAnnot(annotation)
    return lines


def _annotation_text(annotation: Any, key: bytes) -> str:
    import pypdfium2.raw as raw

    size = raw.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFAnnot_GetStringValue(annotation, key, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[: max(size - 2, 0)].decode("utf-16-le", "replace").strip()


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


def _lines(text: str, text_page: Any) -> Iterator[list[tuple[Box, float]]]:
    """Yield pdfium's lines as words, each with the angle of its line in radians."""
    import pypdfium2.raw as raw

    handle, rect = text_page.raw, raw.FS_RECTF()
    pointer = ctypes.byref(rect)
    loose, angle_of = raw.FPDFText_GetLooseCharBox, raw.FPDFText_GetCharAngle
    line: list[tuple[Box, float]] = []
    angle = 0.0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0] in "\r\n":
            if line:
                yield line
            line = []
            continue
        if token == HYPHEN and line:
            line[-1][0].text += HYPHEN
            yield line
            line = []
            continue
        start, end = found.span()
        loose(handle, start, pointer)
        x0, y0, x1, y1 = rect.left, rect.bottom, rect.right, rect.top
        if not line:
            angle = angle_of(handle, start)
            angle = 0.0 if angle < 0 or angle > 2 * math.pi - 0.01 else angle
        last = end - 1 - token.endswith(HYPHEN)
        if last > start:
            loose(handle, last, pointer)
            x0, x1 = min(x0, rect.left), max(x1, rect.right)
            y0, y1 = min(y0, rect.bottom), max(y1, rect.top)
        size = (x1 - x0) / max(len(token) * 0.5, 1) if angle else y1 - y0
        line.append((Box(_decoded(token), x0, y0, x1, y1, size), angle))
        if token.endswith(HYPHEN):
            yield line
            line = []
    if line:
        yield line


def _decoded(token: str) -> str:
    if "\0" in token:
        token = restore_ligatures(token)
    if _SURROGATE.search(token):
        return token.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return token


def _rules(page: Any) -> list[tuple[float, float, float, float]]:
    import pypdfium2.raw as raw

    handle, count = page.raw, raw.FPDFPage_CountObjects(page.raw)
    bounds = tuple(ctypes.c_float() for _ in range(4))
    pointers = [ctypes.byref(bound) for bound in bounds]
    found: list[tuple[float, float, float, float]] = []
    paths = 0
    for index in range(count):
        item = raw.FPDFPage_GetObject(handle, index)
        if raw.FPDFPageObj_GetType(item) != raw.FPDF_PAGEOBJ_PATH:
            continue
        paths += 1
        if paths > _MAX_PATHS:
            return []
        if raw.FPDFPageObj_GetBounds(item, *pointers):
            found.extend(_edges(*(bound.value for bound in bounds)))
    return found


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


def picture_cover(page: Any) -> float:
    """Return the area of a page's pictures as a share of the page."""
    import pypdfium2.raw as raw

    width, height = page.get_size()
    boxes = (picture.get_bounds() for picture in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]))
    return sum((right - left) * (top - bottom) for left, bottom, right, top in boxes) / max(
        width * height, 1.0
    )
