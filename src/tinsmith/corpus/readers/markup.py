"""Read HTML and XML."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree

from tinsmith.corpus.readers.base import Loss, Piece, name_set
from tinsmith.corpus.readers.html_page import PageReader
from tinsmith.corpus.readers.law import read_law

# By the rules of XML, which a parser of HTML does not follow, `<script/>` and its like are complete elements.
_XHTML = re.compile(
    r"\s*<\?xml|(?>\s|<!--.*?-->)*+(?:<!doctype[^>]*//DTD XHTML|(?:<!doctype[^>]*>)?(?>\s|<!--.*?-->)*+"
    r"<html[^>]*http://www\.w3\.org/1999/xhtml)",
    re.IGNORECASE | re.DOTALL,
)
_SELF_CLOSED = re.compile(r"""<([a-zA-Z][\w:.-]*)((?:[^<>"'/]|/(?!>)|"[^"]*"|'[^']*')*)/>""")
_VOID = name_set("area base br col embed hr img input link meta source track wbr")
_CLOSED_VOID = re.compile(r"</(?:br|hr|img|input|col|wbr)\s*>", re.IGNORECASE)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_SUBSET = re.compile(r"<!doctype[^>\[]*\[", re.IGNORECASE)
_SUBSET_END = re.compile(r"\]\s*>")
_ENTITY = re.compile(r"""<!ENTITY\s+([\w.-]+)\s+["']([^"'<&%]{0,200})["']\s*>""")
_REFERENCE = re.compile(r"&([\w.-]+);")
# Elements of these languages may have a prefix, which a parser of HTML takes for a part of their names.
_PREFIX = re.compile(
    r"""xmlns:([\w-]+)\s*=\s*["']http://www\.w3\.org/(?:1998/Math/MathML|2000/svg|1999/xhtml)["']"""
)
_DRAWING = re.compile(
    r"(?>\s|<\?.*?\?>|<!--.*?-->|<!doctype[^>]*>)*+<(?:[\w-]+:)?svg[\s/>]", re.IGNORECASE | re.DOTALL
)
# A browser moves text that stands between the rows of a table before it, where it would join the word there.
_ROWS = re.compile(r"<(?:table|tbody|tr)\b[^<>]*>", re.IGNORECASE)


def read_html(text: str, *, is_xhtml: bool = False) -> tuple[Piece, list[Loss]]:
    """Return what a browser shows of a page, cells separated by tabs, the title as metadata; and what is not text.

    `is_xhtml` says that the page is XHTML, even if its first lines do not.
    """
    from selectolax.lexbor import LexborHTMLParser

    if is_xhtml or _XHTML.match(text):
        text = _open_and_close(text)
    tree = LexborHTMLParser(_ROWS.sub(r"\g<0> ", text))
    title = tree.css_first("head > title, body > title")
    name = " ".join(title.text().split()) if title else ""
    page = PageReader(tree)
    return Piece(page.text(), {"title": name} if name else {}), page.losses()


def _open_and_close(text: str) -> str:
    """Return XHTML as a parser of HTML understands it: empty elements opened and closed, CDATA as text, no prefixes."""
    if (subset := _SUBSET.search(text)) and (end := _SUBSET_END.search(text, subset.end())):
        entities = dict(_ENTITY.findall(text, subset.end(), end.start()))
        text = _REFERENCE.sub(lambda match: entities.get(match[1], match[0]), text[end.end() :])
    for prefix in set(_PREFIX.findall(text)):
        text = re.sub(rf"<(/?){prefix}:", r"<\1", text)
    text = _CLOSED_VOID.sub("", text)
    last = text.rfind("]]>") + 3  # no further, where each opening would search all the rest in vain
    text = _CDATA.sub(lambda match: html.escape(match[1]), text[:last]) + text[last:]
    return _SELF_CLOSED.sub(
        lambda match: match[0] if match[1].lower() in _VOID else f"<{match[1]}{match[2]}></{match[1]}>", text
    )


def is_drawing(text: str) -> bool:
    """Return whether XML is an SVG drawing, which a browser shows as part of a page."""
    return bool(_DRAWING.match(text))


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
