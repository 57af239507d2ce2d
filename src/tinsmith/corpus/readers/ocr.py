"""Scanned pages to words with boxes, by RapidOCR's models, which lie in its package: nothing is fetched.

An extra, since it and its runtime weigh 100 MB: pip install 'tinsmith[ocr]'.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tinsmith.corpus.readers.boxes import Box, Page

_PACKAGES = ("rapidocr", "onnxruntime")
_SCALE = 200 / 72  # dots in a point
_UPRIGHT = 0.8  # of a page's sureness: upright pages reach 0.99, upside down ones 0.6
_SURE = 0.5  # of a line; below it what was recognised is noise
_LETTERS = 0.75  # of a line's height that its letters take


def missing() -> list[str]:
    """Return the packages that recognising needs and that are not installed."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def recognise_page(page: Any) -> Page:
    """Return the lines that stand in the picture of a pdfium page, as boxes in points; one laid wrongly is turned."""
    picture = page.render(scale=_SCALE, grayscale=False).to_numpy()
    best, most = Page([], 0.0), 0.0
    for quarters in range(4):
        turned = np.ascontiguousarray(np.rot90(picture, quarters))
        lines = _lines(turned)
        if not lines:
            break
        letters = sum(len(line.text) for line in lines)
        sureness = sum(line.score * len(line.text) for line in lines) / letters
        wide = sum(len(line.text) for line in lines if line.is_wide) / letters
        if sureness * wide > most:
            best, most = _page(lines, turned.shape[0]), sureness * wide
        if sureness > _UPRIGHT and wide > 1 / 2:
            break
    return best


class _Line(NamedTuple):
    """Recognised text, how sure the recogniser is, and its box in dots from the upper left corner."""

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
    found = _engine()(picture)
    lines = []
    for corners, text, score in zip(
        found.boxes if found.boxes is not None else (), found.txts or (), found.scores or (), strict=True
    ):
        if text.strip():
            across, down = [float(x) for x, _ in corners], [float(y) for _, y in corners]
            lines.append(_Line(text.strip(), float(score), min(across), min(down), max(across), max(down)))
    return lines


def _page(lines: list[_Line], height: int) -> Page:
    """Return lines that are sure enough as boxes in points, with the origin in the lower left corner."""
    boxes = []
    for line in lines:
        if line.score >= _SURE:
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
        # Its judge of a line's direction turns one long line in ten upside down.
        "Global.use_cls": False,
        # One thread each: the reader processes are as many as the cores.
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    }
    return RapidOCR(params=options)
