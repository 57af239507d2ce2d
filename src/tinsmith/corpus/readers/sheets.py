"""Read spreadsheets (xlsx) from their XML: each cell as it is shown, and what is hidden or not read as losses."""

from __future__ import annotations

import io
import posixpath
import re
import struct
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinsmith.corpus.readers.archive import local, parse_xml, read_member, relations
from tinsmith.corpus.readers.base import Loss, Part, Piece, Unreadable, join_blocks
from tinsmith.corpus.readers.number_formats import BUILT_IN, show_general, show_number, show_text

_WORKBOOK = re.compile(r"xl/workbook\d*\.xml")
_REFERENCE = re.compile(r"([A-Z]+)(\d+)")
_SHAPE_TEXT = re.compile(rb"<(?:\w+:)?t>[^<\s][^<]*<")
_HIDDEN_STATES = ("hidden", "veryHidden")
_TRUE = ("1", "true")
_MAX_COLUMNS = 16_384
_WORKBOOK_BEGIN = b"\x09\x08\x10\0\0\x06\x05\0"  # a record that begins the workbook's own records
_BOUND_SHEET, _WORKBOOK_END = 0x85, 0x0A
UNCOMPUTED = "formulas that were never computed"


@dataclass
class Sheet:
    """The rows of one sheet as lines of tab-separated cells, and how often what was left out."""

    name: str
    lines: list[str] = field(default_factory=list)
    lost: Counter[tuple[str, str]] = field(
        default_factory=Counter
    )  # (reason, detail) -> cells, rows or columns

    def block(self, with_name: bool) -> str:
        """Return the sheet as text, below its name if asked; empty without any cell."""
        lines = self.lines
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join([self.name, *lines] if with_name else lines) if any(lines) else ""

    def losses(self, part: str) -> list[Loss]:
        """Return what was left out of the sheet."""
        return [Loss(part, reason, detail, count) for (reason, detail), count in sorted(self.lost.items())]


def one_line(text: str) -> str:
    """Return the text of a cell without line ends and tabs, which part cells and rows."""
    return " ".join(text.split()) if "\n" in text or "\t" in text or "\r" in text else text.strip()


def join_sheets(sheets: list[Sheet]) -> Piece:
    """Return the sheets as one text; if there are several, each is below its name."""
    return Piece(join_blocks(sheet.block(len(sheets) > 1) for sheet in sheets))


def read_xlsx(archive: zipfile.ZipFile) -> list[Part]:
    """Return the visible cells of all visible sheets as they are shown; what is hidden is a loss.

    Raises Unreadable: damaged.
    """
    path = next((name for name in archive.namelist() if _WORKBOOK.fullmatch(name)), None)
    if path is None:
        raise Unreadable("damaged", "no xl/workbook.xml")
    folder, name = posixpath.split(path)
    root = parse_xml(read_member(archive, path))
    related = relations(archive, folder, name)
    book = _Book(archive, folder, {kind.rpartition("/")[2]: target for kind, target in related.values()})
    book.from_1904 = any(
        local(node) == "workbookPr" and node.get("date1904") in _TRUE for node in root.iter()
    )
    sheets: list[Sheet] = []
    lost: list[Loss] = []
    listed = [node for node in root.iter() if local(node) == "sheet"]
    for node in listed:
        identity = next((value for key, value in node.attrib.items() if key.endswith("}id")), "")
        kind, target = related.get(identity, ("", ""))
        if kind.rpartition("/")[2] != "worksheet":
            continue  # a sheet that is a chart; charts are listed by themselves
        if target not in archive.namelist():
            lost.append(Loss(target or node.get("name", ""), "damaged", "is not in the file"))
        elif node.get("state") in _HIDDEN_STATES:
            lost.append(Loss(f"sheet {node.get('name', '')}", "hidden", "hidden sheet"))
        else:
            sheets.append(book.read_sheet(target, node.get("name", "")))
            lost += sheets[-1].losses(target)
    if listed and not sheets and not lost:
        raise Unreadable("damaged", "no sheet of the workbook is there")
    drawings = (name for name in sorted(archive.namelist()) if name.startswith("xl/drawings/drawing"))
    shapes = ((name, len(_SHAPE_TEXT.findall(read_member(archive, name)))) for name in drawings)
    lost += [Loss(name, "not_read", "text of shapes", count) for name, count in shapes if count]
    return [join_sheets(sheets), *lost]


def hidden_sheets(data: bytes) -> list[str]:
    """Return the names of the hidden sheets of a workbook from before 2007 ([MS-XLS] 2.4.28)."""
    names: list[str] = []
    position = data.find(_WORKBOOK_BEGIN)
    while 0 <= position <= len(data) - 12:
        kind, size = struct.unpack_from("<HH", data, position)
        if kind == _WORKBOOK_END:
            break
        if kind == _BOUND_SHEET and data[position + 8] & 3:
            wide = data[position + 11] & 1
            name = data[position + 12 : position + 4 + size]
            names.append(name.decode("utf-16-le" if wide else "latin-1", "replace"))
        position += 4 + size
    return names


class _Book:
    """The texts and formats that the sheets of a workbook share."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, parts: dict[str, str]) -> None:
        self.archive = archive
        self.from_1904 = False
        names = set(archive.namelist())
        strings = parts.get("sharedStrings", f"{folder}/sharedStrings.xml")
        styles = parts.get("styles", f"{folder}/styles.xml")
        self.strings = list(_strings(read_member(archive, strings))) if strings in names else []
        self.formats = _formats(read_member(archive, styles)) if styles in names else []

    def read_sheet(self, path: str, name: str) -> Sheet:
        """Return a sheet's visible rows, from the first row and column that hold anything."""
        sheet = Sheet(name)
        hidden_columns: set[int] = set()
        rows: dict[int, dict[int, str]] = {}
        number = 0
        for node in _elements(read_member(self.archive, path), ("row", "col")):
            if local(node) == "col":
                if _is_hidden(node, "width"):
                    hidden_columns |= set(
                        range(int(node.get("min", 1)), min(int(node.get("max", 1)), _MAX_COLUMNS) + 1)
                    )
                continue
            number = int(node.get("r", number + 1))
            cells = self._cells(node, sheet)
            if _is_hidden(node, "ht"):
                if cells:
                    sheet.lost["hidden", "hidden rows"] += 1
                continue
            sheet.lost["hidden", "cells of hidden columns"] += len(hidden_columns & cells.keys())
            if shown := {place: text for place, text in cells.items() if place not in hidden_columns}:
                rows[number] = shown
        sheet.lost = +sheet.lost
        first = min((place for cells in rows.values() for place in cells), default=0)
        before = min(rows, default=1) - 1
        for number, cells in rows.items():
            sheet.lines += [""] * min(number - before - 1, 1)
            columns = [place for place in range(first, max(cells) + 1) if place not in hidden_columns]
            sheet.lines.append("\t".join(cells.get(place, "") for place in columns))
            before = number
        return sheet

    def _cells(self, row: ElementTree.Element, sheet: Sheet) -> dict[int, str]:
        """Return the text of a row's cells by column from 1, without those that show nothing."""
        cells: dict[int, str] = {}
        place = 0
        for node in row:
            if local(node) != "c":
                continue
            reference = _REFERENCE.match(node.get("r", ""))
            place = _column(reference[1]) if reference else place + 1
            parts = {local(part): part for part in node}
            value = parts["v"].text or "" if "v" in parts else ""
            kind = node.get("t", "n")
            if "f" in parts and not value and not (kind == "str" and "v" in parts):
                sheet.lost["not_read", UNCOMPUTED] += 1
                continue
            stored = _text(parts["is"]) if kind == "inlineStr" and "is" in parts else value
            if not stored:
                continue
            shown = one_line(self._show(stored, kind, node.get("s", "0")))
            if shown:
                cells[place] = shown
            elif stored.strip():
                sheet.lost["hidden", "cells whose format shows nothing"] += 1
        return cells

    def _show(self, value: str, kind: str, style: str) -> str:
        code = self.formats[int(style)] if style.isdecimal() and int(style) < len(self.formats) else "General"
        if kind == "s":
            known = value.isdecimal() and int(value) < len(self.strings)
            return show_text(self.strings[int(value)], code) if known else ""
        if kind in ("str", "inlineStr"):
            return show_text(value, code)
        if kind == "b":
            return "TRUE" if value in _TRUE else "FALSE"
        if kind == "e":
            return value
        if kind == "d":
            return value.replace("T", " ").removesuffix(" 00:00:00")
        try:
            number = float(value)
        except ValueError:
            return value
        if code == "General":
            return value if value.lstrip("-").isdecimal() else show_general(number)
        return show_number(number, code, from_1904=self.from_1904)


def _elements(data: bytes, names: tuple[str, ...]) -> Iterator[ElementTree.Element]:
    """Yield elements of these names as they end, and free them. Raises Unreadable for XML that is not well-formed."""
    try:
        for _, node in ElementTree.iterparse(io.BytesIO(data)):
            if local(node) in names:
                yield node
                node.clear()
    except ElementTree.ParseError as error:
        raise Unreadable("damaged", f"XML: {error}") from error


def _strings(data: bytes) -> Iterator[str]:
    for node in _elements(data, ("si",)):
        yield _text(node)


def _text(node: ElementTree.Element) -> str:
    """Return the text of a string, its runs joined, without phonetic guides."""
    pieces = []
    for part in node:
        if local(part) == "t":
            pieces.append(part.text or "")
        elif local(part) == "r":
            pieces += [each.text or "" for each in part if local(each) == "t"]
    return "".join(pieces)


def _formats(data: bytes) -> list[str]:
    """Return the format code of each cell style."""
    root = parse_xml(data)
    codes = dict(BUILT_IN)
    for node in root.iter():
        if local(node) == "numFmt":
            codes[int(node.get("numFmtId", 0))] = node.get("formatCode", "General")
    styles = next((node for node in root if local(node) == "cellXfs"), ())
    return [codes.get(int(node.get("numFmtId", 0)), "General") or "General" for node in styles]


def _is_hidden(node: ElementTree.Element, size: str) -> bool:
    """Return whether a row or column is hidden or has no height or width."""
    return node.get("hidden") in _TRUE or re.fullmatch(r"0+(?:\.0*)?", node.get(size, "")) is not None


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
