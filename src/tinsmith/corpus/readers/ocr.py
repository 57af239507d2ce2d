"""Recognise scanned pages with RapidOCR, whose package includes its models: nothing is downloaded.

An extra, since it takes 100 MB: pip install 'tinsmith[ocr]'.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tinsmith.corpus.readers.boxes import Box, Page

_PACKAGES = ("rapidocr", "onnxruntime")
_SCALE = 200 / 72  # pixels per point
_UPRIGHT = 0.8  # mean score of a page: upright pages reach 0.99, upside-down ones 0.6
_MIN_SCORE = 0.5  # of a line; below it the text is noise
_LETTERS = 0.75  # letter height as a share of the line's height


def missing_packages() -> list[str]:
    """Return the packages that OCR needs and that are not installed."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def recognise_page(page: Any) -> Page:
    """Return the recognised lines of a pdfium page as boxes in points, rotated if it was scanned sideways."""
    picture = page.render(scale=_SCALE, grayscale=False).to_numpy()
    best, most = Page([], 0.0), 0.0
    for quarters in range(4):
        turned = np.ascontiguousarray(np.rot90(picture, quarters))
        lines = _lines(turned)
        if not lines:
            break
        letters = sum(len(line.text) for line in lines)
        score = sum(line.score * len(line.text) for line in lines) / letters
        wide = sum(len(line.text) for line in lines if line.is_wide) / letters
        if score * wide > most:
            best, most = _page(lines, turned.shape[0]), score * wide
        if score > _UPRIGHT and wide > 1 / 2:
            break
    return best


class _Line(NamedTuple):
    """Recognised text, its score, and its box in pixels from the upper left corner."""

    text: str
    score: float
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def is_wide(self) -> bool:
        return self.x1 - self.x0 >= self.y1 - self.y0


def _lines(picture: Any) -> list[_Line]:
    output = _engine()(picture)
    lines = []
    for corners, text, score in zip(
        output.boxes if output.boxes is not None else (), output.txts or (), output.scores or (), strict=True
    ):
        if text.strip():
            across, down = [float(x) for x, _ in corners], [float(y) for _, y in corners]
            lines.append(_Line(text.strip(), float(score), min(across), min(down), max(across), max(down)))
    return lines


def _page(lines: list[_Line], height: int) -> Page:
    """Return lines with a sufficient score as boxes in points, with the origin in the lower left corner."""
    boxes = []
    for line in lines:
        if line.score >= _MIN_SCORE:
            top, bottom = (height - line.y0) / _SCALE, (height - line.y1) / _SCALE
            size = _LETTERS * (top - bottom)
            boxes.append(Box(line.text, line.x0 / _SCALE, bottom, line.x1 / _SCALE, top, size))
    return Page(boxes, max((box.y1 for box in boxes), default=0.0))


@cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    options = {
        "Global.log_level": "error",
        # Its classifier of line direction turns one long line in ten upside down.
        "Global.use_cls": False,
        # There is one reader process per core already.
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    }
    return RapidOCR(params=options)
