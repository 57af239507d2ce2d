"""Find the words of a PDF page that nobody sees: compare pictures of the page with and without them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinsmith.corpus.readers.boxes import Box

# As pdfium numbers them.
_INVISIBLE, _CLIPPING, _STROKE = 3, 7, 1
_WHITE = 239  # of 255, in each channel
_ALIKE = 16  # of 255, in each channel
_SEEN = 24  # of 255: the least change of a pixel that a reader sees
_TINY = 1 / 1000  # of the page's height
_MIN_PIXELS, _MAX_SCALE, _MAX_AREA = 6, 3.0, 16e6
_MAX_SEGMENTS = 100  # of a clip; text has simple ones
_FULL_COVER = 0.5  # of the page under a picture: invisible text is the text of a scan

Bounds = tuple[float, float, float, float]
Colour = tuple[int, int, int, int]


class Word(NamedTuple):
    """A word, the angle of its line in radians, and the pdfium text object of its first letter."""

    box: Box
    angle: float
    item: Any


class Look(NamedTuple):
    """What may hide a text object whatever is around it, its colour, its place in the order of drawing, its clip."""

    cause: str
    ink: Colour
    order: int
    clip: Bounds | None


class Fill(NamedTuple):
    """A filled path, or a drawing within the page without a colour: its place in the order, its bounds, its colour."""

    order: int
    bounds: Bounds
    colour: Colour | None


@dataclass
class Drawing:
    """What a page draws beside text: ruled lines, filled paths, pictures; and the order of its text objects."""

    rules: list[Bounds] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    pictures: list[Bounds] = field(default_factory=list)
    texts: dict[int, int] = field(default_factory=dict)
    cover: float = 0.0  # area of the pictures as a share of the page


def find_hidden(page: Any, words: Sequence[Word], drawing: Drawing) -> dict[int, str]:
    """Return why words are not seen, by their index: page, size, color, layer, clip, invisible or covered."""
    left, bottom, right, top = page.get_bbox()
    causes: dict[int, str] = {}
    doubtful: dict[int, str] = {}
    known: dict[int, Look] = {}
    edges = np.array([fill.bounds for fill in drawing.fills], np.float64).reshape(-1, 4).T
    for number, (box, angle, item) in enumerate(words):
        if box.x1 <= left or box.x0 >= right or box.y1 <= bottom or box.y0 >= top:
            causes[number] = "page"
        elif not angle and box.size < _TINY * (top - bottom):
            causes[number] = "size"
        elif item:
            address = ctypes.addressof(item.contents)
            if address not in known:
                known[address] = _describe(item, drawing.texts.get(address, -1))
            fills = [drawing.fills[n] for n in _find_holding(edges, box)]
            if cause := _doubt(box, known[address], fills, drawing):
                doubtful[number] = cause
    return causes | _check(page, words, doubtful) if doubtful else causes


def _describe(item: Any, order: int) -> Look:
    import pypdfium2.raw as raw

    mode = raw.FPDFTextObj_GetTextRenderMode(item)
    ink = object_colour(
        item, raw.FPDFPageObj_GetStrokeColor if mode == _STROKE else raw.FPDFPageObj_GetFillColor
    )
    cause = "invisible" if mode in (_INVISIBLE, _CLIPPING) else "" if ink[3] else "color"
    if not cause and raw.FPDFPageObj_CountMarks(item) > 0 and _has_layer(item):
        cause = "layer"
    return Look(cause, ink, order, _clip(item))


def _clip(item: Any) -> Bounds | None:
    """Return the bounds within which a text object is drawn; None without any."""
    import pypdfium2.raw as raw

    path = raw.FPDFPageObj_GetClipPath(item)
    x, y = ctypes.c_float(), ctypes.c_float()
    bounds: Bounds | None = None
    for number in range(max(raw.FPDFClipPath_CountPaths(path), 0)):
        points = []
        for segment in range(min(raw.FPDFClipPath_CountPathSegments(path, number), _MAX_SEGMENTS)):
            corner = raw.FPDFClipPath_GetPathSegment(path, number, segment)
            raw.FPDFPathSegment_GetPoint(corner, ctypes.byref(x), ctypes.byref(y))
            points.append((x.value, y.value))
        if points:
            across, up = zip(*points, strict=True)
            left, low, right, high = bounds or (min(across), min(up), max(across), max(up))
            bounds = max(left, min(across)), max(low, min(up)), min(right, max(across)), min(high, max(up))
    return bounds


def _has_layer(item: Any) -> bool:
    """Return whether a text object belongs to an optional layer, which may be off."""
    import pypdfium2.raw as raw

    buffer, size = ctypes.create_string_buffer(16), ctypes.c_ulong()
    target = ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR))
    for number in range(raw.FPDFPageObj_CountMarks(item)):
        mark = raw.FPDFPageObj_GetMark(item, number)
        # A longer name than the buffer holds is not written.
        if raw.FPDFPageObjMark_GetName(mark, target, 16, ctypes.byref(size)) and buffer.raw[:4] == b"O\0C\0":
            return True
    return False


def object_colour(item: Any, getter: Any) -> Colour:
    """Return red, green, blue and opacity of a page object; opaque mid-grey for a pattern."""
    channels = tuple(ctypes.c_uint() for _ in range(4))
    found = getter(item, *(ctypes.byref(channel) for channel in channels))
    red, green, blue, alpha = (channel.value for channel in channels)
    return (red, green, blue, alpha) if found else (128, 128, 128, 255)


def _doubt(box: Box, look: Look, fills: Sequence[Fill], drawing: Drawing) -> str:
    """Return why a word within fills may not be seen; the empty string if it surely is."""
    if look.cause == "invisible":
        scanned = drawing.cover >= _FULL_COVER or any(_holds(picture, box) for picture in drawing.pictures)
        return "" if scanned else look.cause
    if look.cause:
        return look.cause
    if look.clip and not _holds(look.clip, box):
        return "clip"
    ground: Fill | None = None
    for fill in fills:
        if 0 <= look.order < fill.order:
            return "covered"
        ground = fill if fill.colour else ground
    if ground and ground.colour:
        unseen = _are_alike(ground.colour, look.ink)
    else:
        unseen = min(look.ink[:3]) >= _WHITE and not any(_holds(picture, box) for picture in drawing.pictures)
    # pdfium does not say whether a drawing within the page, whose texts have no place in its order, is on a layer.
    return "color" if unseen else "layer" if look.order < 0 else ""


def _are_alike(one: Colour, two: Colour) -> bool:
    return max(abs(a - b) for a, b in zip(one[:3], two[:3], strict=True)) <= _ALIKE


def _find_holding(edges: np.ndarray[Any, np.dtype[np.float64]], box: Box) -> list[int]:
    """Return the indices of bounds (4, N) that hold the middle of a box."""
    if not edges.size:
        return []
    x, y = (box.x0 + box.x1) / 2, box.middle
    held = (edges[0] <= x) & (x <= edges[2]) & (edges[1] <= y) & (y <= edges[3])
    return np.flatnonzero(held).tolist()


def _holds(bounds: Bounds, box: Box) -> bool:
    return bounds[0] <= (box.x0 + box.x1) / 2 <= bounds[2] and bounds[1] <= box.middle <= bounds[3]


def _check(page: Any, words: Sequence[Word], doubtful: dict[int, str]) -> dict[int, str]:
    """Return those of the doubtful words without which the page looks the same.

    Invisible text is seen all the same where the page draws the letters by other means.
    """
    import pypdfium2.raw as raw

    width, height = page.get_size()
    smallest = min(max(words[number].box.size, 0.1) for number in doubtful)
    scale = min(max(_MIN_PIXELS / smallest, 1.0), _MAX_SCALE, (_MAX_AREA / max(width * height, 1.0)) ** 0.5)
    items = {ctypes.addressof(words[n].item.contents): words[n].item for n in doubtful}
    before = _picture(page, scale)
    for item in items.values():
        raw.FPDFPageObj_SetIsActive(item, False)
    after = _picture(page, scale)
    for item in items.values():
        raw.FPDFPageObj_SetIsActive(item, True)
    changed = np.abs(before - after).max(axis=2)
    hidden = {}
    for number, cause in doubtful.items():
        rows, columns = _pixels(page, words[number].box, changed.shape)
        region = before[rows, columns] if cause == "invisible" else changed[rows, columns]
        seen = region.size and (np.ptp(region, axis=(0, 1)).max() if cause == "invisible" else region.max())
        if seen < _SEEN or (cause == "invisible" and _is_under_words(words, number, doubtful)):
            hidden[number] = cause
    return hidden


def _is_under_words(words: Sequence[Word], number: int, doubtful: dict[int, str]) -> bool:
    """Return whether what is seen in a word's place is another word."""
    box = words[number].box
    others = (word.box for other, word in enumerate(words) if other not in doubtful)
    return any(_holds((other.x0, other.y0, other.x1, other.y1), box) for other in others)


def _picture(page: Any, scale: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    return page.render(scale=scale, may_draw_forms=False).to_numpy().astype(np.int16)  # type: ignore[no-any-return]


def _pixels(page: Any, box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of a box in a picture of the page."""
    import pypdfium2.raw as raw

    x, y = ctypes.c_int(), ctypes.c_int()
    corners = []
    for across, up in ((box.x0, box.y0), (box.x1, box.y1)):
        raw.FPDF_PageToDevice(
            page.raw, 0, 0, shape[1], shape[0], 0, across, up, ctypes.byref(x), ctypes.byref(y)
        )
        corners.append((x.value, y.value))
    (x0, x1), (y0, y1) = (sorted(values) for values in zip(*corners, strict=True))
    return slice(max(y0, 0), max(y1 + 1, 0)), slice(max(x0, 0), max(x1 + 1, 0))


def count_runs(hidden: dict[int, str], ends: Iterable[int]) -> dict[str, int]:
    """Return the runs of hidden words by cause; `ends` are the indices at which a line begins."""
    starts, counts = set(ends), dict[str, int]()
    for number, cause in hidden.items():
        if number in starts or hidden.get(number - 1) != cause:
            counts[cause] = counts.get(cause, 0) + 1
    return counts
