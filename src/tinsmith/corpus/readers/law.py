"""Read XML of regulations and statutes by its structure: eCFR and CFR bulk data, eRegs, and USLM.

Headings become Markdown headings by depth, provisions become paragraphs that begin with their number, and tables
Markdown tables. Editorial additions are left out: tables of contents, notes, sources of amendments, analyses.
Element names follow the public schemas of GPO and OLRC, and eregs.xsd.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from xml.etree.ElementTree import Element

from tinsmith.corpus.readers.base import Meta, Piece, join_blocks, name_set
from tinsmith.corpus.readers.grids import markdown_table

_NUMBER = re.compile(r"\(?\w{1,5}[.)]")
_ISO_DATE = re.compile(r"(?:18|19|20)\d\d-\d\d-\d\d")


class _Shape(NamedTuple):
    """The role of each element of a schema, by name without namespace.

    Containers set the depth of headings. `leads` are the parts of a provision that open its paragraph. An element
    in no list is a part of the sentence around it, or else a paragraph.
    """

    containers: dict[str, int]  # name -> depth of its heading
    headings: frozenset[str]
    provisions: frozenset[str]
    leads: frozenset[str]
    texts: frozenset[str]
    dropped: frozenset[str]
    tables: frozenset[str]


_SHAPES = {
    "eregs": _Shape(
        containers={"part": 1, "subpart": 2, "appendix": 2, "interpretations": 2, "section": 3}
        | {"appendixSection": 3, "interpSection": 3},
        headings=name_set("subject title appendixTitle"),
        provisions=name_set("paragraph interpParagraph"),
        leads=name_set("title"),
        texts=name_set("content"),
        dropped=name_set(
            "fdsys preamble tableOfContents analysis notice changeset altText url graphic effectiveDate"
        ),
        tables=name_set("table"),
    ),
    "uslm": _Shape(
        containers={"title": 1, "subtitle": 2, "division": 2, "part": 2, "subdivision": 3, "subpart": 3}
        | {"chapter": 3, "article": 3, "subchapter": 4, "subarticle": 4, "section": 5},
        headings=name_set("heading num"),
        provisions=name_set(
            "subsection paragraph subparagraph clause subclause item subitem subsubitem level"
        ),
        leads=name_set("num heading"),
        texts=name_set("chapeau content continuation text p"),
        dropped=name_set(
            "meta preface toc notes note sourceCredit footnote ref-notes listOfAmendments authority"
        ),
        tables=name_set("table layout"),
    ),
    "cfr": _Shape(
        containers={f"DIV{n}": n for n in range(1, 10)}
        | {"TITLE": 1, "SUBTITLE": 2, "CHAPTER": 2, "SUBCHAP": 3, "PART": 3, "SUBPART": 4, "SECTION": 5}
        | {"APPENDIX": 4, "EXTRACT": 6},
        headings=name_set("HEAD HED SECTNO SUBJECT RESERVED HD1 HD2 HD3"),
        provisions=frozenset(),
        leads=frozenset(),
        texts=name_set("P FP FP-1 FP-2 FP1-2 PSPACE FRP LDRWK MATH"),
        dropped=name_set(
            "CITA AUTH SOURCE EDNOTE EFFDNOT EFFDNOTP XREF CROSSREF SECAUTH APPRO PRTPAGE TOC TOCHD CONTENTS FDSYS "
            "AMDDATE LRH RRH HEADER teiHeader IDNO CHAPTI STARS EAR"
        ),
        tables=name_set("GPOTABLE TABLE table"),
    ),
}
_USLM = "/uslm"  # in all namespaces of the schema: code, bills, public laws, statutes at large
_ROOTS = {"regulation": "eregs"}
_ROOTS |= dict.fromkeys(
    ("ECFR", "DLPSTEXTCLASS", "CFRDOC", "CFRGRANULE", *(f"DIV{n}" for n in range(1, 10))), "cfr"
)
_ROW = name_set("row tr ROW TR")
_HEADER_ROW = name_set("columnHeaderRow BOXHD")
_CELL = name_set("cell column td th ENT CHED TD TH")


def read_law(root: Element) -> Piece | None:
    """Return a regulation or statute as text with title, number and date, or None if the root is neither."""
    shape = "uslm" if _USLM in str(root.tag) else _ROOTS.get(_name(root))
    if shape is None or (shape == "eregs" and root.find("{*}part") is None):
        return None
    meta = _META[shape](root)
    blocks = _with_numbers(_blocks(root, _SHAPES[shape]))
    if shape == "eregs" and "title" in meta:
        blocks = [f"# {meta['title']}", *blocks]
    return Piece(join_blocks(blocks), meta)


class _Paragraphs:
    """Collects paragraphs; the number and heading of a provision wait for the text that follows them."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self._line: list[str] = []
        self._has_text = False

    def lead(self, text: str) -> None:
        self._line += [" ", text, " "]

    def add(self, text: str) -> None:
        self._line.append(text)
        self._has_text = self._has_text or bool(text.strip())

    def end_paragraph(self) -> None:
        """End the paragraph if it has more than numbers and headings."""
        if self._has_text:
            self.write()

    def write(self, *blocks: str) -> None:
        """End the paragraph, and append blocks after it."""
        self.blocks += [" ".join("".join(self._line).split()), *blocks]
        self._line, self._has_text = [], False


class _Visit(NamedTuple):
    node: Element
    depth: int  # of the heading above
    parent: str
    inline: bool  # part of a sentence


def _blocks(root: Element, shape: _Shape) -> list[str]:
    """Visit elements in document order, without recursion: XML may nest deeper than Python's stack.

    Each text and tail is written once: an element in no list is a part of the sentence around it, or else a paragraph.
    """
    output = _Paragraphs()
    structure = frozenset(shape.containers) | shape.provisions | shape.texts | shape.tables | shape.headings
    structured = _with_descendants(root, structure)
    stack: list[_Visit | str | None] = [_Visit(root, 0, "", inline=False)]
    while stack:
        step = stack.pop()
        if step is None:
            output.end_paragraph()
            continue
        if isinstance(step, str):
            output.add(step)
            continue
        node, depth, parent, inline = step
        name = _name(node)
        if _is_dropped(node, shape):
            continue
        children = list(node)
        if name in shape.tables:
            output.write(*_table(node))
            continue
        if name in shape.headings:
            if parent in shape.provisions and name in shape.leads:
                output.lead(_text(node, shape))
            elif parent not in shape.containers or not _heads(node, shape):
                output.write(f"{'#' * min(6, depth + 1)} {text}" if (text := _text(node, shape)) else "")
            continue
        if name in shape.containers:
            depth = shape.containers[name]
            heading = " ".join(
                filter(None, (_text(child, shape) for child in children if _heads(child, shape)))
            )
            output.write(f"{'#' * min(6, depth)} {heading}" if heading else "")
        elif name in shape.provisions:
            output.write()
            output.lead((node.get("marker") or "").strip())
        elif not inline:
            output.end_paragraph()
        stack += [] if inline else [None]
        sentence = inline or name in shape.texts or _has_words(node)
        for child in reversed(children):
            within = sentence and _name(child) not in structure and child not in structured
            stack += [child.tail or "", _Visit(child, depth, name, inline=within)]
        stack.append(_own_text(node))
    output.write()
    return output.blocks


def _with_descendants(root: Element, names: frozenset[str]) -> set[Element]:
    """Return the elements with a descendant of one of these names."""
    nodes = list(root.iter())
    parents = {child: node for node in nodes for child in node}
    ancestors: set[Element] = set()
    for node in reversed(nodes):
        if (_name(node) in names or node in ancestors) and node in parents:
            ancestors.add(parents[node])
    return ancestors


def _is_dropped(node: Element, shape: _Shape) -> bool:
    """Return whether a node is a comment, editorial, or the mark of an editorial footnote."""
    name = _name(node)
    return not name or name in shape.dropped or (name == "ref" and node.get("class") == "footnoteRef")


def _has_words(node: Element) -> bool:
    return bool((node.text or "").strip() or any((child.tail or "").strip() for child in node))


def _own_text(node: Element) -> str:
    """Return the text before an element's first child; a footnote mark in brackets."""
    text = node.text or ""
    return f"[{text.strip()}]" if _name(node) == "SU" and text.strip() else text


def _with_numbers(blocks: Iterable[str]) -> list[str]:
    """Prepend a number that is a block of its own to the next block: "(a)" to "(1) Account means"."""
    joined: list[str] = []
    number = ""
    for block in filter(None, blocks):
        if _NUMBER.fullmatch(block):
            number = f"{number} {block}".strip()
        else:
            separate = block.startswith(("#", "|"))
            joined += [number] if separate and number else []
            joined.append(block if separate or not number else f"{number} {block}")
            number = ""
    return [*joined, number]


def _heads(node: Element, shape: _Shape) -> bool:
    return _name(node) in shape.headings and not _name(node).startswith("HD")


def _text(node: Element, shape: _Shape) -> str:
    """Return the text of an element in one line, without dropped elements and tables."""
    parts: list[str] = []
    stack: list[Element | str] = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            parts.append(part)
            continue
        if part is not node and (_is_dropped(part, shape) or _name(part) in shape.tables):
            continue
        parts.append(_own_text(part))
        for child in reversed(part):
            stack += [child.tail or "", child]
    return " ".join("".join(parts).split())


def _table(table: Element) -> list[str]:
    """Return the blocks above the rows of a table, the rows as Markdown, and the blocks below."""
    above: list[str] = []
    below: list[str] = []
    rows: list[list[str]] = []
    stack = [table]
    while stack:
        node = stack.pop()
        if _name(node) in _ROW | _HEADER_ROW:
            cells = (cell for cell in node.iter() if _name(cell) in _CELL)
            rows.append([" ".join("".join(cell.itertext()).split()) for cell in cells])
        elif _name(node) and _has_words(node):
            (below if rows else above).append(" ".join("".join(node.itertext()).split()))
        else:
            stack.extend(reversed(node))
    return [*above, markdown_table(rows), *below]


def _name(node: Element) -> str:
    """Return an element's name without namespace; HD in the annual CFR is named by its attribute SOURCE."""
    name = node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
    return node.get("SOURCE", name) if name == "HD" else name


def _first(root: Element, *paths: str) -> str:
    for path in paths:
        node = root.find(path)
        if node is not None and (value := " ".join("".join(node.itertext()).split())):
            return value
    return ""


def _meta(title: str, number: str, date: str) -> Meta:
    match = _ISO_DATE.search(date)
    values = {"title": title, "number": number, "date": match.group() if match else ""}
    return {name: value for name, value in values.items() if value}


def _eregs_meta(root: Element) -> Meta:
    title, part = _first(root, "{*}preamble/{*}cfr/{*}title"), _first(root, "{*}preamble/{*}cfr/{*}section")
    date = _first(root, "{*}preamble/{*}effectiveDate", "{*}fdsys/{*}date")
    return _meta(_first(root, "{*}fdsys/{*}title"), f"{title} CFR {part}" if title and part else "", date)


def _uslm_meta(root: Element) -> Meta:
    dublin = "{http://purl.org/dc/elements/1.1/}"
    terms = "{http://purl.org/dc/terms/}"
    title = _first(root, f"{{*}}meta/{dublin}title")
    date = _first(root, f"{{*}}meta/{terms}created", f"{{*}}meta/{dublin}date", "{*}meta/{*}docReleasePoint")
    return _meta(title, root.get("identifier", "").strip("/"), date)


def _cfr_meta(root: Element) -> Meta:
    head = _first(root, ".//HEAD", ".//TITLEHD/HED", ".//PART/HD", ".//SECTION/SUBJECT")
    return _meta(head, "", _first(root, ".//AMDDATE", ".//FDSYS/DATE", ".//FDSYS/ORIGINALDATE"))


_META = {"eregs": _eregs_meta, "uslm": _uslm_meta, "cfr": _cfr_meta}
