"""XML of regulations and statutes, read by its structure: eCFR and CFR bulk data, eRegs, and USLM.

Headings become Markdown headings by depth, each provision one paragraph that begins with its number, tables
Markdown tables. What editors added and no legislator wrote is left out: tables of contents, notes, sources of
amendments, analyses. The element names are those of the GPO's and OLRC's public schemas and of eregs.xsd.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from xml.etree.ElementTree import Element

from tinsmith.corpus.readers.base import Meta, Piece, join_blocks
from tinsmith.corpus.readers.grids import markdown_table

_NUMBER = re.compile(r"\(?\w{1,5}[.)]")
_ISO_DATE = re.compile(r"(?:18|19|20)\d\d-\d\d-\d\d")


class _Shape(NamedTuple):
    """What the elements of one schema are for, by their names without namespace.

    A container deepens the headings in it. `leads` are the parts of a provision that stand before its text, in one
    paragraph with it; what is in no list is passed through to its children, or is a paragraph where it holds text.
    """

    containers: dict[str, int]  # name -> depth of its heading
    headings: frozenset[str]
    provisions: frozenset[str]
    leads: frozenset[str]
    texts: frozenset[str]
    dropped: frozenset[str]
    tables: frozenset[str]


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SHAPES = {
    "eregs": _Shape(
        containers={"part": 1, "subpart": 2, "appendix": 2, "interpretations": 2, "section": 3}
        | {"appendixSection": 3, "interpSection": 3},
        headings=_names("subject title appendixTitle"),
        provisions=_names("paragraph interpParagraph"),
        leads=_names("title"),
        texts=_names("content"),
        dropped=_names(
            "fdsys preamble tableOfContents analysis notice changeset altText url graphic effectiveDate"
        ),
        tables=_names("table"),
    ),
    "uslm": _Shape(
        containers={"title": 1, "subtitle": 2, "division": 2, "part": 2, "subdivision": 3, "subpart": 3}
        | {"chapter": 3, "article": 3, "subchapter": 4, "subarticle": 4, "section": 5},
        headings=_names("heading num"),
        provisions=_names("subsection paragraph subparagraph clause subclause item subitem subsubitem level"),
        leads=_names("num heading"),
        texts=_names("chapeau content continuation text p"),
        dropped=_names("meta toc notes note sourceCredit footnote ref-notes listOfAmendments authority"),
        tables=_names("table"),
    ),
    "cfr": _Shape(
        containers={f"DIV{n}": n for n in range(1, 10)}
        | {"TITLE": 1, "SUBTITLE": 2, "CHAPTER": 2, "SUBCHAP": 3, "PART": 3, "SUBPART": 4, "SECTION": 5}
        | {"APPENDIX": 4, "EXTRACT": 6},
        headings=_names("HEAD HED SECTNO SUBJECT RESERVED HD1 HD2 HD3"),
        provisions=frozenset(),
        leads=frozenset(),
        texts=_names("P FP PSPACE FRP LDRWK"),
        dropped=_names(
            "CITA AUTH SOURCE EDNOTE EFFDNOT EFFDNOTP XREF CROSSREF SECAUTH APPRO PRTPAGE TOC TOCHD CONTENTS FDSYS "
            "AMDDATE LRH RRH HEADER teiHeader IDNO CHAPTI STARS"
        ),
        tables=_names("GPOTABLE TABLE table"),
    ),
}
_ROOTS = {"regulation": "eregs", **dict.fromkeys(("uscDoc", "lawDoc", "statuteCompilation"), "uslm")}
_ROOTS |= dict.fromkeys(
    ("ECFR", "DLPSTEXTCLASS", "CFRDOC", "CFRGRANULE", *(f"DIV{n}" for n in range(1, 10))), "cfr"
)
_ROW = _names("row tr ROW TR")
_HEADER_ROW = _names("columnHeaderRow BOXHD")
_CELL = _names("cell column td th ENT CHED TD TH")


def read_law(root: Element) -> Piece | None:
    """Return a regulation or statute as text with title, number and date, or None where the root is neither."""
    shape = _ROOTS.get(_name(root))
    if shape is None or (shape == "eregs" and root.find("{*}part") is None):
        return None
    meta = _META[shape](root)
    blocks = _with_numbers(_blocks(root, _SHAPES[shape]))
    if shape == "eregs" and "title" in meta:
        blocks = [f"# {meta['title']}", *blocks]
    return Piece(join_blocks(blocks), meta)


def _blocks(root: Element, shape: _Shape) -> list[str]:
    """Visit elements in order without recursion; XML may nest deeper than Python's stack."""
    blocks: list[str] = []
    stack: list[tuple[Element, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        name = _name(node)
        if name in shape.dropped:
            continue
        if name in shape.tables:
            blocks.append(markdown_table(_rows(node)))
            continue
        children = [child for child in node if isinstance(child.tag, str)]
        if name in shape.provisions:
            blocks.append(_provision(node, children, shape))
            children = [child for child in children if not _is_said(child, shape)]
        elif name in shape.containers:
            depth = shape.containers[name]
            heading = " ".join(
                filter(None, (_text(child, shape) for child in children if _heads(child, shape)))
            )
            blocks += [f"{'#' * min(6, depth)} {heading}"] if heading else []
            children = [child for child in children if not _heads(child, shape)]
        elif name in shape.headings:
            blocks.append(f"{'#' * min(6, depth + 1)} {_text(node, shape)}" if _text(node, shape) else "")
            continue
        elif _holds(node, frozenset(shape.containers) | shape.provisions):
            blocks.append(" ".join((node.text or "").split()))
        elif name in shape.texts or (node.text or "").strip():
            blocks.append(_text(node, shape))
            children = [child for child in children if _holds(child, shape.tables)]
        stack.extend((child, depth) for child in reversed(children))
    return blocks


def _with_numbers(blocks: Iterable[str]) -> list[str]:
    """Put a number that stands alone before what follows it: "(a)" before "(1) Account means"."""
    joined: list[str] = []
    number = ""
    for block in filter(None, blocks):
        if _NUMBER.fullmatch(block):
            number = f"{number} {block}".strip()
        else:
            apart = block.startswith(("#", "|"))
            joined += [number] if apart and number else []
            joined.append(block if apart or not number else f"{number} {block}")
            number = ""
    return [*joined, number]


def _heads(node: Element, shape: _Shape) -> bool:
    return _name(node) in shape.headings and not _name(node).startswith("HD")


def _provision(node: Element, children: Iterable[Element], shape: _Shape) -> str:
    """Return a provision's number, heading and own text as one paragraph; those in it follow as their own."""
    said = [_text(child, shape) for child in children if _is_said(child, shape)]
    return " ".join(filter(None, [(node.get("marker") or "").strip(), (node.text or "").strip(), *said]))


def _is_said(node: Element, shape: _Shape) -> bool:
    structure = frozenset(shape.containers) | shape.provisions | shape.tables
    return _name(node) in shape.leads | shape.texts and not _holds(node, structure)


def _holds(node: Element, names: frozenset[str]) -> bool:
    """Say whether an element, or one in it, bears one of the names; a provision's own heading may bear one too."""
    return any(_name(each) in names for each in node.iter() if each is not node) or (
        _name(node) in names and len(node) > 0
    )


def _text(node: Element, shape: _Shape) -> str:
    """Return the words of an element in one line, without what is dropped and without tables."""
    parts: list[str] = []
    stack: list[Element | str] = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            parts.append(part)
            continue
        if part is not node and (
            not isinstance(part.tag, str) or _name(part) in shape.dropped | shape.tables
        ):
            continue
        parts.append(part.text or "")
        for child in reversed(part):
            stack += [child.tail or "", child]
    return " ".join("".join(parts).split())


def _rows(table: Element) -> list[list[str]]:
    rows = []
    for row in table.iter():
        if _name(row) in _ROW | _HEADER_ROW:
            cells = (cell for cell in row.iter() if _name(cell) in _CELL)
            rows.append([" ".join("".join(cell.itertext()).split()) for cell in cells])
    return rows


def _name(node: Element) -> str:
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def _first(root: Element, *paths: str) -> str:
    for path in paths:
        found = root.find(path)
        if found is not None and (value := " ".join("".join(found.itertext()).split())):
            return value
    return ""


def _meta(title: str, number: str, date: str) -> Meta:
    found = _ISO_DATE.search(date)
    values = {"title": title, "number": number, "date": found.group() if found else ""}
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
    head = _first(root, ".//HEAD", ".//TITLE/HD", ".//SECTION/SUBJECT")
    return _meta(head, "", _first(root, ".//AMDDATE", ".//FDSYS/DATE", ".//FDSYS/ORIGINALDATE"))


_META = {"eregs": _eregs_meta, "uslm": _uslm_meta, "cfr": _cfr_meta}
