"""Read HTML and XML."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from typing import Any

from tinsmith.corpus.readers.base import Piece, join_blocks, name_set
from tinsmith.corpus.readers.law import read_law

_SKIPPED = name_set(
    "script style template noscript head svg annotation annotation-xml iframe object select textarea"
)
_PARAGRAPHS = name_set(
    "p h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre hr section "
    "article header footer nav aside main figure form fieldset details dialog hgroup menu search"
)
_LINES = name_set("div li tr dt dd caption figcaption legend address option body center summary")
_CELLS = {"td", "th"}
_SPACES = re.compile(r"[ \t\r\n\f\xa0]+")
# A longer cell, or one with a table in it, serves page layout and contains paragraphs.
_MAX_CELL_CHARACTERS = 300
_LINE, _PARAGRAPH = 1, 2


# By the rules of XML, which a parser of HTML does not follow, `<script/>` and its like are complete elements.
_XHTML = re.compile(
    r"\s*<\?xml|(?:<!doctype[^>]*>\s*)?<html[^>]*http://www\.w3\.org/1999/xhtml", re.IGNORECASE
)
_SELF_CLOSED = re.compile(r"""<([a-zA-Z][\w:.-]*)((?:[^<>"'/]|/(?!>)|"[^"]*"|'[^']*')*)/>""")
_VOID = name_set("area base br col embed hr img input link meta source track wbr")
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)


@dataclass
class _Flow:
    """Collected text; line breaks wait for the next text, so that they never accumulate."""

    parts: list[str] = field(default_factory=list)
    owed: int = 0
    spaced: bool = True

    def owe(self, lines: int) -> None:
        self.owed, self.spaced = max(self.owed, lines), True

    def break_line(self) -> None:
        self.owed, self.spaced = min(self.owed + 1, _PARAGRAPH), True

    def add(self, text: str) -> None:
        """Append text with runs of white space as one space, and none at the start of a line."""
        text = _SPACES.sub(" ", text)
        text = text[1:] if self.spaced and text.startswith(" ") else text
        if text:
            self.add_exact(text)
            self.spaced = text.endswith(" ")

    def add_exact(self, text: str) -> None:
        self.parts.append("\n" * self.owed + text if self.parts else text)
        self.owed, self.spaced = 0, False

    def ends_in_digit(self) -> bool:
        return not self.owed and bool(self.parts) and self.parts[-1][-1:].isdigit()

    def text(self) -> str:
        return "\n".join(line.rstrip(" \t") for line in "".join(self.parts).split("\n"))


def read_html(text: str) -> Piece:
    """Return the text of a page without scripts and styles, cells separated by tabs, the title as metadata."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(_open_and_close(text) if _XHTML.match(text) else text)
    title = tree.css_first("title")
    name = " ".join(title.text().split()) if title else ""
    flow = _Flow()
    if root := tree.body or tree.root:
        _walk(root, flow)
    return Piece(flow.text(), {"title": name} if name else {})


def _open_and_close(text: str) -> str:
    """Return XHTML as a parser of HTML understands it: empty elements opened and closed, CDATA as text."""
    text = _CDATA.sub(lambda match: html.escape(match[1]), text)
    return _SELF_CLOSED.sub(
        lambda match: match[0] if match[1].lower() in _VOID else f"<{match[1]}{match[2]}></{match[1]}>", text
    )


def read_xml(text: str) -> Piece:
    """Return a regulation or statute by its structure, any other document as a line per element with text.

    A document that is not well-formed is returned unchanged.
    """
    try:
        root = ElementTree.fromstring(
            text.encode("utf-8", "replace") if not text.startswith("<?xml") else _undeclare(text)
        )
    except ElementTree.ParseError:
        return Piece(text)
    if (law := read_law(root)) is not None and law.text:
        return law
    lines: list[str] = []
    _xml_lines(root, lines)
    return Piece("\n".join(lines))


def _walk(root: Any, flow: _Flow) -> None:
    """Visit nodes in document order, without recursion: pages nest deeper than Python's stack."""
    stack: list[tuple[Any, str, bool]] = [(root, "", False)]
    while stack:
        node, closing, exact = stack.pop()
        if closing:
            _close(closing, flow)
            continue
        tag = node.tag
        if tag == "-text":
            (flow.add_exact if exact else flow.add)(node.text_content or "")
        elif tag == "br":
            flow.break_line()
        elif tag in _CELLS and _is_data(node):
            flow.add(_cell_text(node))
            stack.append((node, tag, False))
        elif tag not in _SKIPPED and not tag.startswith(("-", "_")):
            _open(tag, flow)
            if tag == "sup" and flow.ends_in_digit() and (node.text() or "")[:1].isdigit():
                flow.add_exact("^")  # a power or a note is not part of the number
            stack.append((node, tag, False))
            stack.extend((child, "", exact or tag == "pre") for child in reversed(_children(node)))


def _cell_text(cell: Any) -> str:
    """Return the text of a cell on one line, with spaces where a browser would break it."""
    flow = _Flow()
    for child in _children(cell):
        _walk(child, flow)
    return " ".join(flow.text().split())


def _children(node: Any) -> list[Any]:
    found, child = [], node.child
    while child is not None:
        found.append(child)
        child = child.next
    return found


def _is_data(cell: Any) -> bool:
    return cell.css_first("table, script, style") is None and len(cell.text()) <= _MAX_CELL_CHARACTERS


def _open(tag: str, flow: _Flow) -> None:
    if tag in _PARAGRAPHS:
        flow.owe(_PARAGRAPH)
    elif tag in _LINES:
        flow.owe(_LINE)


def _close(tag: str, flow: _Flow) -> None:
    if tag in _CELLS:
        # Not after a pending break: the tab would start a line, and the texts are separate already.
        if not flow.owed:
            flow.add_exact("\t")
            flow.spaced = True
    else:
        _open(tag, flow)


def _undeclare(text: str) -> bytes:
    """Remove the XML declaration, whose encoding does not apply to decoded text."""
    return text[text.find("?>") + 2 :].lstrip().encode("utf-8", "replace")


def _xml_lines(node: ElementTree.Element, lines: list[str]) -> None:
    stack = [node]
    while stack:
        current = stack.pop()
        if not isinstance(current.tag, str):
            continue
        mixed = bool((current.text or "").strip()) or any((child.tail or "").strip() for child in current)
        if mixed:
            if line := " ".join("".join(current.itertext()).split()):
                lines.append(line)
        else:
            stack.extend(reversed(current))


def join_pages(pages: list[Piece]) -> str:
    """Join the pages of a book."""
    return join_blocks(page.text for page in pages)
