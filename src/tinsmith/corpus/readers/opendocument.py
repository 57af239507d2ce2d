"""Read OpenDocument text from its XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator

from tinsmith.corpus.readers.archive import local, parse_xml, read_member
from tinsmith.corpus.readers.base import Loss, Part, Piece, Unreadable, join_blocks, name_set

_SKIPPED = name_set("tracked-changes annotation annotation-end note-citation title desc forms")
_SPECIAL = {"tab": "\t", "line-break": "\n"}
_APART = name_set("frame note custom-shape")  # within a paragraph, with paragraphs of their own
_ROW_GROUPS = name_set("table-header-rows table-rows table-row-group")
_SPACES = re.compile(r"[ \t\r\n]+")


def read_odt(archive: zipfile.ZipFile) -> list[Part]:
    """Return the paragraphs, lists, tables, boxes and notes of a document in order, and its comments as a loss."""
    root = parse_xml(read_member(archive, "content.xml"))
    body = next((node for node in root.iter() if local(node) == "body"), None)
    if body is None:
        raise Unreadable("damaged", "content.xml has no body")
    blocks: list[str] = []
    _collect(body, blocks)
    comments = sum(local(node) == "annotation" for node in body.iter())
    lost = [Loss("content.xml", "not_read", "comments", comments)] if comments else []
    return [Piece(join_blocks(blocks)), *lost]


def _collect(node: ElementTree.Element, blocks: list[str]) -> None:
    name = local(node)
    if name in _SKIPPED:
        return
    if name in ("p", "h"):
        parts: list[str] = []
        apart: list[ElementTree.Element] = []
        _inline(node, parts, apart)
        blocks.append("".join(parts))
        for each in apart:
            _collect(each, blocks)
    elif name == "table":
        blocks.append("\n".join("\t".join(map(_cell, row)).rstrip() for row in _rows(node)))
    else:
        for child in node:
            _collect(child, blocks)


def _inline(node: ElementTree.Element, parts: list[str], apart: list[ElementTree.Element]) -> None:
    """Append the text of a paragraph, spans and links at any depth included."""
    parts.append(_SPACES.sub(" ", node.text or ""))
    for child in node:
        name = local(child)
        if name == "s":
            count = next((value for key, value in child.attrib.items() if key.endswith("}c")), "1")
            parts.append(" " * (int(count) if count.isdecimal() else 1))
        elif name in _SPECIAL:
            parts.append(_SPECIAL[name])
        elif name in _APART:
            apart.append(child)
        elif name not in _SKIPPED:
            _inline(child, parts, apart)
        parts.append(_SPACES.sub(" ", child.tail or ""))


def _rows(table: ElementTree.Element) -> Iterator[list[ElementTree.Element]]:
    for child in table:
        if local(child) == "table-row":
            yield [cell for cell in child if local(cell) in ("table-cell", "covered-table-cell")]
        elif local(child) in _ROW_GROUPS:
            yield from _rows(child)


def _cell(cell: ElementTree.Element) -> str:
    blocks: list[str] = []
    for child in cell:
        _collect(child, blocks)
    return " ".join(" ".join(blocks).split())
