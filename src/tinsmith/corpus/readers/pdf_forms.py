"""Read what was filled into a form or written onto a page of a PDF, and count the annotations that are not text."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from tinsmith.corpus.readers.boxes import Box

_HIDDEN_FLAGS = 2 | 32  # Hidden, NoView
_PASSWORD = 1 << 13
_MAX_SIZE = 12.0  # points of height of a line in a field
_WIDTH = 0.5  # of a letter, in heights
_LINE_END = re.compile(r"\r\n|[\r\n]")


class Annotations:
    """The lines of a page's fields and notes as boxes in their places, and what of them is hidden or not read."""

    def __init__(self, page: Any, form: Any | None) -> None:
        import pypdfium2.raw as raw

        self.values: list[list[Box]] = []
        self.hidden: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self._form = form.raw if form else None
        self._readers: dict[int, Callable[[Any], str]] = {
            raw.FPDF_ANNOT_WIDGET: self._field,
            raw.FPDF_ANNOT_FREETEXT: lambda annotation: _string(annotation, b"Contents"),
        }
        others = {
            "comments": "TEXT HIGHLIGHT UNDERLINE STRIKEOUT SQUIGGLY CARET INK LINE SQUARE CIRCLE POLYGON POLYLINE",
            "stamps": "STAMP WATERMARK",
            "attached files": "FILEATTACHMENT SOUND MOVIE SCREEN RICHMEDIA THREED",
        }
        self._others = {
            getattr(raw, f"FPDF_ANNOT_{kind}"): name
            for name, kinds in others.items()
            for kind in kinds.split()
        }
        for number in range(raw.FPDFPage_GetAnnotCount(page.raw)):
            annotation = raw.FPDFPage_GetAnnot(page.raw, number)
            try:
                self._read(annotation)
            finally:
                raw.FPDFPage_CloseAnnot(annotation)

    def _read(self, annotation: Any) -> None:
        import pypdfium2.raw as raw

        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if other := self._others.get(kind):
            # A highlight without words has no text.
            self.unread[other] += other != "comments" or bool(_string(annotation, b"Contents"))
        elif reader := self._readers.get(kind):
            value = reader(annotation)
            if value and raw.FPDFAnnot_GetFlags(annotation) & _HIDDEN_FLAGS:
                self.hidden["annotation"] += 1
            elif value:
                self.values.append(_place(value, annotation))

    def _field(self, annotation: Any) -> str:
        """Return what a field of a form shows: its text, its choice, or whether it is ticked."""
        import pypdfium2.raw as raw

        form = self._form
        kind = raw.FPDFAnnot_GetFormFieldType(form, annotation) if form else -1
        if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
            return "[x]" if raw.FPDFAnnot_IsChecked(form, annotation) else "[ ]"
        if kind in (raw.FPDF_FORMFIELD_PUSHBUTTON, raw.FPDF_FORMFIELD_SIGNATURE):
            drawn = raw.FPDFAnnot_HasKey(annotation, b"AP") or raw.FPDFAnnot_HasKey(annotation, b"MK")
            self.unread["buttons" if kind == raw.FPDF_FORMFIELD_PUSHBUTTON else "signatures"] += bool(drawn)
            return ""
        if kind <= raw.FPDF_FORMFIELD_UNKNOWN:
            return _loose_field(annotation)
        if (
            kind == raw.FPDF_FORMFIELD_TEXTFIELD
            and raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD
        ):
            self.hidden["password"] += 1
            return ""
        chosen = [
            _wide(raw.FPDFAnnot_GetOptionLabel, form, annotation, number)
            for number in range(max(raw.FPDFAnnot_GetOptionCount(form, annotation), 0))
            if raw.FPDFAnnot_IsOptionSelected(form, annotation, number)
        ]
        return "\n".join(chosen) or _wide(raw.FPDFAnnot_GetFormFieldValue, form, annotation)


def _loose_field(annotation: Any) -> str:
    """Return the value of a field that the document's form does not list."""
    value = _string(annotation, b"V")
    if _string(annotation, b"FT") == "Btn":
        return "[x]" if value not in ("", "Off") else "[ ]"
    return value


def _place(value: str, annotation: Any) -> list[Box]:
    """Return the lines of a text as boxes within the rectangle of its annotation, from its top."""
    import pypdfium2.raw as raw

    rect = raw.FS_RECTF()
    raw.FPDFAnnot_GetRect(annotation, ctypes.byref(rect))
    low, high = sorted((rect.bottom, rect.top))
    lines = [" ".join(line.split()) for line in _LINE_END.split(value)]
    lines = [line for line in lines if line]
    step = (high - low) / max(len(lines), 1)
    size = min(step, _MAX_SIZE) or 1.0
    boxes = []
    for number, line in enumerate(lines):
        middle = high - (number + 0.5) * step
        width = min(_WIDTH * size * len(line), max(rect.right - rect.left, 1.0))
        boxes.append(Box(line, rect.left, middle - size / 2, rect.left + width, middle + size / 2, size))
    return boxes


def insert_values(boxes: list[Box], values: list[list[Box]]) -> None:
    """Put the lines of each field where a reader meets them: after the label beside it, or above what is below."""
    for lines in values:
        first = lines[0]
        before = [n for n, box in enumerate(boxes) if box.beside(first) and box.x0 <= first.x0]
        below = [n for n, box in enumerate(boxes) if box.middle < first.y0]
        place = max(before, key=lambda n: boxes[n].x0) + 1 if before else min(below, default=len(boxes))
        boxes[place:place] = lines


def attached_files(document: Any) -> list[str]:
    """Return the names of the files that a document contains."""
    import pypdfium2.raw as raw

    count = max(raw.FPDFDoc_GetAttachmentCount(document.raw), 0)
    attachments = (raw.FPDFDoc_GetAttachment(document.raw, number) for number in range(count))
    return [_wide(raw.FPDFAttachment_GetName, attachment) or "attached file" for attachment in attachments]


def _string(annotation: Any, key: bytes) -> str:
    import pypdfium2.raw as raw

    return _wide(raw.FPDFAnnot_GetStringValue, annotation, key)


def _wide(getter: Any, *arguments: Any) -> str:
    """Return the text that a function of pdfium writes as UTF-16 into a buffer."""
    import pypdfium2.raw as raw

    size = getter(*arguments, None, 0)
    buffer = ctypes.create_string_buffer(max(size, 2))
    getter(*arguments, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[: max(size - 2, 0)].decode("utf-16-le", "replace").strip()
