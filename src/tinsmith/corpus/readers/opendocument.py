"""Read OpenDocument texts, spreadsheets and slides from their XML; what they hide is a loss."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import Counter
from collections.abc import Iterator

from tinsmith.corpus.readers.archive import local, parse_xml, read_member
from tinsmith.corpus.readers.base import Loss, Part, Piece, Unreadable, join_blocks, name_set
from tinsmith.corpus.readers.raised import LEVEL, LOWERED, RAISED, write_raised
from tinsmith.corpus.readers.sheets import UNCOMPUTED, Sheet, join_sheets, one_line

_SKIPPED = name_set("tracked-changes annotation annotation-end note-citation title desc forms ruby-text")
_SPECIAL = {"tab": "\t", "line-break": "\n"}
_APART = name_set("frame note custom-shape")  # within a paragraph, with paragraphs of their own
_ROW_GROUPS = name_set("table-header-rows table-rows table-row-group")
_COLUMN_GROUPS = name_set("table-header-columns table-columns table-column-group")
_CELLS = name_set("table-cell covered-table-cell")
_NOT_SHOWN = ("collapse", "filter")  # rows and columns
_OBJECT = re.compile(r"Object [^/]*/content\.xml")
_SPACES = re.compile(r"[ \t\r\n]+")
_MAX_CELLS = 20_000_000


def read_odt(archive: zipfile.ZipFile) -> list[Part]:
    """Return the paragraphs, lists, tables, boxes and notes of a text in order; hidden text, comments as losses."""
    document = _Document(archive)
    blocks: list[str] = []
    document.collect(document.body, blocks)
    return [Piece(join_blocks(blocks)), *document.losses(archive)]


def read_ods(archive: zipfile.ZipFile) -> list[Part]:
    """Return the visible cells of all visible sheets as they are shown; hidden ones, comments as losses."""
    document = _Document(archive)
    sheets = []
    for table in (node for node in document.body.iter() if local(node) == "table"):
        name = _attribute(table, "name")
        if _attribute(table, "style-name") in document.hidden_tables:
            document.lost[f"sheet {name}", "hidden", "hidden sheet"] += 1
        else:
            sheets.append(document.read_sheet(table, name))
    return [join_sheets(sheets), *document.losses(archive)]


def read_odp(archive: zipfile.ZipFile) -> list[Part]:
    """Return the text of the visible slides in order, each followed by its notes; hidden ones as losses."""
    document = _Document(archive)
    slides = [node for node in document.body.iter() if local(node) == "page"]
    blocks: list[str] = []
    for number, slide in enumerate(slides, 1):
        if _attribute(slide, "style-name") in document.hidden_slides:
            document.lost[f"slide {number}", "hidden", "hidden slide"] += 1
        else:
            document.collect(slide, blocks)
    return [Piece(join_blocks(blocks), {"slides": len(slides)}), *document.losses(archive)]


class _Document:
    """The body of a document, the names of styles that hide, and what was left out."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        root = parse_xml(read_member(archive, "content.xml"))
        body = next((node for node in root.iter() if local(node) == "body"), None)
        if body is None:
            raise Unreadable("damaged", "content.xml has no body")
        self.body = body
        self.lost: Counter[tuple[str, str, str]] = Counter()  # (part, reason, detail) -> count
        roots = [root]
        if "styles.xml" in archive.namelist():
            roots.append(parse_xml(read_member(archive, "styles.xml")))
        styles = [node for each in roots for node in each.iter() if local(node) == "style"]
        self.hidden_styles = _hiding(styles, "text-properties", "display", ("none",))
        self.shifts = _shifts(styles)
        self.hidden_tables = _hiding(styles, "table-properties", "display", ("false",))
        self.hidden_slides = _hiding(styles, "drawing-page-properties", "visibility", ("hidden",))

    def losses(self, archive: zipfile.ZipFile) -> list[Loss]:
        """Return what was left out."""
        names = Counter(local(node) for node in self.body.iter())
        self.lost["content.xml", "not_read", "comments"] += names["annotation"]
        self.lost["content.xml", "hidden", "deleted text"] += names["deletion"]
        for name in filter(_OBJECT.fullmatch, archive.namelist()):
            self.lost[name, "not_read", "embedded object"] += 1
        return [
            Loss(part, reason, detail, count)
            for (part, reason, detail), count in sorted((+self.lost).items())
        ]

    def collect(self, node: ElementTree.Element, blocks: list[str]) -> None:
        """Append the paragraphs and tables below a node."""
        name = local(node)
        if name in _SKIPPED:
            return
        if name == "section" and (
            _attribute(node, "display") == "none" or _attribute(node, "is-hidden") == "true"
        ):
            self._hide("hidden sections")
        elif name in ("p", "h"):
            parts: list[str] = []
            apart: list[ElementTree.Element] = []
            hides = self._inline(node, parts, apart)
            if hides or _attribute(node, "style-name") in self.hidden_styles:
                self._hide("hidden paragraphs", any(part.strip() for part in parts))
                return
            blocks.append(write_raised("".join(parts)))
            for each in apart:
                self.collect(each, blocks)
        elif name == "table":
            rows = (self._row(row) for row in _rows(node))
            blocks.append("\n".join("\t".join(row).rstrip() for row in rows))
        else:
            for child in node:
                self.collect(child, blocks)

    def _hide(self, detail: str, count: int = 1) -> None:
        self.lost["content.xml", "hidden", detail] += count

    def _inline(self, node: ElementTree.Element, parts: list[str], apart: list[ElementTree.Element]) -> bool:
        """Append the text of a paragraph, spans and links at any depth included; return whether it is hidden."""
        hides = False
        parts.append(_SPACES.sub(" ", node.text or ""))
        for child in node:
            name = local(child)
            if name == "s":
                count = _attribute(child, "c") or "1"
                parts.append(" " * (int(count) if count.isdecimal() else 1))
            elif name in _SPECIAL:
                parts.append(_SPECIAL[name])
            elif name in _APART:
                apart.append(child)
            elif name == "hidden-paragraph":
                hides = hides or _attribute(child, "is-hidden") != "false"
            elif name == "hidden-text" and _attribute(child, "is-hidden") != "false":
                self._hide("hidden text")
            elif name == "span" and _attribute(child, "style-name") in self.hidden_styles:
                self._hide("hidden text", any(text.strip() for text in child.itertext()))
            elif name not in _SKIPPED:
                shift = self.shifts.get(_attribute(child, "style-name"), "") if name == "span" else ""
                parts.append(shift)
                hides = self._inline(child, parts, apart) or hides
                parts.append(LEVEL if shift else "")
            parts.append(_SPACES.sub(" ", child.tail or ""))
        return hides

    def _row(self, row: ElementTree.Element) -> list[str]:
        """Return the cells of a row; what lies under a merged cell is hidden."""
        cells = []
        for cell in row:
            if local(cell) in _CELLS:
                text = self._cell(cell)
                covered = local(cell) == "covered-table-cell"
                self._hide("cells under merged ones", bool(covered and text))
                cells.append("" if covered else text)
        return cells

    def _cell(self, cell: ElementTree.Element) -> str:
        blocks: list[str] = []
        for child in cell:
            self.collect(child, blocks)
        return one_line(" ".join(blocks))

    def read_sheet(self, table: ElementTree.Element, name: str) -> Sheet:
        """Return the visible rows of a sheet, from the first column that holds anything."""
        sheet = Sheet(name)
        hidden = _hidden_columns(table)
        rows: list[tuple[dict[int, str], int]] = []
        size = 0
        for row in _rows(table):
            cells = self._sheet_cells(row)
            repeated = _repeated(row, "number-rows-repeated")
            if _attribute(row, "visibility") in _NOT_SHOWN:
                self._hide("hidden rows", repeated if cells else 0)
                continue
            self._hide("cells of hidden columns", len(hidden & cells.keys()) * repeated)
            shown = {place: text for place, text in cells.items() if place not in hidden}
            size += len(shown) * repeated
            if size > _MAX_CELLS:
                raise Unreadable("unpacks_too_big", f"more than {_MAX_CELLS:,} cells")
            rows.append((shown, repeated if shown else 1))
        first = min((place for cells, _ in rows for place in cells), default=0)
        for cells, repeated in rows:
            columns = [place for place in range(first, max(cells, default=0) + 1) if place not in hidden]
            line = "\t".join(cells.get(place, "") for place in columns)
            if line or (sheet.lines and sheet.lines[-1]):
                sheet.lines += [line] * repeated
        return sheet

    def _sheet_cells(self, row: ElementTree.Element) -> dict[int, str]:
        """Return the text of a row's cells by column from 0, without those that show nothing."""
        cells: dict[int, str] = {}
        place = 0
        for cell in row:
            if local(cell) not in _CELLS:
                continue
            repeated = _repeated(cell, "number-columns-repeated")
            text = self._cell(cell) or _attribute(cell, "string-value") or _attribute(cell, "value")
            if local(cell) == "covered-table-cell":
                self._hide("cells under merged ones", bool(text) * repeated)
            elif text:
                if place + repeated > _MAX_CELLS:
                    raise Unreadable("unpacks_too_big", f"more than {_MAX_CELLS:,} cells")
                cells |= dict.fromkeys(range(place, place + repeated), text)
            elif _attribute(cell, "formula") and not _attribute(cell, "value-type"):
                self.lost["content.xml", "not_read", UNCOMPUTED] += 1
            place += repeated
        return cells


def _attribute(node: ElementTree.Element, name: str) -> str:
    """Return an attribute by its name without namespace; empty without it."""
    return next((value for key, value in node.attrib.items() if key.rpartition("}")[2] == name), "")


def _repeated(node: ElementTree.Element, name: str) -> int:
    count = _attribute(node, name)
    return int(count) if count.isdecimal() else 1


def _hiding(
    styles: list[ElementTree.Element], properties: str, name: str, values: tuple[str, ...]
) -> set[str]:
    """Return the names of styles with one of these values, themselves or from a parent."""
    return {style for style, value in _values(styles, properties, name).items() if value in values}


def _shifts(styles: list[ElementTree.Element]) -> dict[str, str]:
    """Return the mark of raised or lowered text of each style that shifts it: `super 58%`, `-33% 58%`."""
    shifts = {}
    for style, value in _values(styles, "text-properties", "text-position").items():
        if position := re.match(r"(super)|(sub)|(-?)\d*[1-9]", value):
            shifts[style] = LOWERED if position[2] or position[3] else RAISED
    return shifts


def _values(styles: list[ElementTree.Element], properties: str, name: str) -> dict[str, str]:
    """Return a property of each style, its own or that of the nearest parent which has it."""
    own: dict[str, str] = {}
    parents: dict[str, str] = {}
    for style in styles:
        known = _attribute(style, "name")
        parents[known] = _attribute(style, "parent-style-name")
        own[known] = next((_attribute(each, name) for each in style if local(each) == properties), "")
    found = {}
    for known in own:
        nearest, seen = known, set()
        while nearest in own and not own[nearest] and nearest not in seen:
            seen.add(nearest)
            nearest = parents[nearest]
        found[known] = own.get(nearest, "")
    return found


def _rows(table: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in table:
        if local(child) == "table-row":
            yield child
        elif local(child) in _ROW_GROUPS:
            yield from _rows(child)


def _hidden_columns(table: ElementTree.Element) -> set[int]:
    hidden: set[int] = set()
    place = 0
    for column in _columns(table):
        repeated = _repeated(column, "number-columns-repeated")
        if _attribute(column, "visibility") in _NOT_SHOWN:
            hidden |= set(range(place, min(place + repeated, _MAX_CELLS)))
        place += repeated
    return hidden


def _columns(table: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in table:
        if local(child) == "table-column":
            yield child
        elif local(child) in _COLUMN_GROUPS:
            yield from _columns(child)
