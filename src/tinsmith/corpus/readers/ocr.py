"""Scanned pages to words with boxes, by RapidOCR's models, which lie in its package: nothing is fetched.

An extra, since it and its runtime weigh 100 MB: pip install 'tinsmith[ocr]'.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from typing import Any

from tinsmith.corpus.readers.boxes import Box, Page

_PACKAGES = ("rapidocr", "onnxruntime")
_DPI = 200
_POINTS = 72
_SURE = 0.5  # of a line; below it what was recognised is noise
_LETTERS = 0.75  # of a line's height that its letters take


def missing() -> list[str]:
    """Return the packages that recognising needs and that are not installed."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def recognise_page(page: Any) -> Page:
    """Return the lines that stand in the picture of a pdfium page, as boxes in points."""
    scale = _DPI / _POINTS
    bitmap = page.render(scale=scale, grayscale=False)
    found = _engine()(bitmap.to_numpy())
    height = page.get_height()
    boxes = []
    for corners, text, score in zip(
        found.boxes if found.boxes is not None else (), found.txts or (), found.scores or (), strict=True
    ):
        if score < _SURE or not text.strip():
            continue
        across, down = [float(x) for x, _ in corners], [float(y) for _, y in corners]
        top, bottom = height - min(down) / scale, height - max(down) / scale
        size = _LETTERS * (top - bottom)
        boxes.append(Box(text.strip(), min(across) / scale, bottom, max(across) / scale, top, size))
    return Page(boxes, max((box.y1 for box in boxes), default=0.0))


@cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    # One thread each: the reader processes are as many as the cores.
    threads = {"EngineConfig.onnxruntime.intra_op_num_threads": 1, "Global.log_level": "error"}
    return RapidOCR(params=threads)
