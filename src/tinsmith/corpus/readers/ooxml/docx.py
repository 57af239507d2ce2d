"""Read Word documents: headers, body with computed numbers, notes, footers."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Callable
from functools import partial

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.base import Part, Piece, Unreadable, join_blocks
from tinsmith.corpus.readers.numerals import write_number
from tinsmith.corpus.readers.ooxml.context import Context, Notes
from tinsmith.corpus.readers.ooxml.numbering import Numbering
from tinsmith.corpus.readers.ooxml.package import (
    Element,
    Package,
    PartReader,
    attribute,
    child,
    is_on,
    number,
    value,
)
from tinsmith.corpus.readers.ooxml.story import Story
from tinsmith.corpus.readers.ooxml.styles import Styles

_MAIN = re.compile(r"word/document\d*\.xml", re.IGNORECASE)
# Parts with text that a reader sees only through a part that shows them.
_UNREAD = re.compile(
    r"word/(?:charts/chart[^/]*\.xml|diagrams/data[^/]*\.xml|embeddings/[^/]+|afchunk[^/]*)", re.IGNORECASE
)
_SEPARATORS = ("separator", "continuationSeparator", "continuationNotice")
_NOTE_FORMATS = {"footnote": "decimal", "endnote": "lowerRoman"}


def read_docx(archive: zipfile.ZipFile, read_part: PartReader) -> list[Part]:
    """Return the text of a Word document, and what of it is not text as losses; `read_part` reads documents within.

    Raises Unreadable: damaged.
    """
    package = Package(archive, read_part)
    main = package.main_part(next(filter(_MAIN.fullmatch, package.names), ""))
    if not main:
        raise Unreadable("damaged", "no word/document.xml")
    root = package.parse(main)
    settings = _optional(package, main, "settings")
    styles = Styles(_optional(package, main, "styles"))
    numbering = Numbering(_optional(package, main, "numbering"), styles)
    context = Context(
        package, styles, numbering, Notes(_note_numbers(settings, child(root, "body", "sectPr")))
    )
    context.on_white = child(root, "background") is None
    body = Story(context, main).read(root)
    heads, feet = _margins(context, main, settings)
    notes = [block for kind in _NOTE_FORMATS for block in _notes(context, main, kind)]
    for style, count in numbering.unknown.items():
        package.lose(main, "not_read", f"numbers in the format {style}, written as figures", count)
    if (comments := _optional(package, main, "comments")) is not None:
        package.lose(_beside(main, "comments"), "not_read", "comments", len(comments))
    chunks = package.related(main, "aFChunk")
    for name in dict.fromkeys((*filter(_UNREAD.fullmatch, package.names), *chunks)):
        if name.lower() not in package.opened:
            package.lose(name, "not_read")
    return [Piece(join_blocks([*heads, *body, *notes, *feet])), *package.losses()]


def _beside(main: str, name: str) -> str:
    return posixpath.join(posixpath.dirname(main), f"{name}.xml")


def _optional(package: Package, main: str, kind: str) -> Element | None:
    """Return the root of a part beside the main one, None if there is none; a damaged one is counted."""
    for name in (*package.related(main, kind), _beside(main, kind)):
        if package.has(name):
            try:
                return package.parse(name)
            except Unreadable as refusal:
                package.lose(name, refusal.reason, refusal.detail)
                return None
    return None


# Notes


def _note_numbers(settings: Element | None, section: Element | None) -> dict[str, Callable[[int], str]]:
    """Return how the numbers of notes are written, for each kind, by their place from zero."""
    found: dict[str, Callable[[int], str]] = {}
    for kind, usual in _NOTE_FORMATS.items():
        stated = [child(node, f"{kind}Pr") for node in (section, settings)]
        styles = [value(child(node, "numFmt")) for node in stated]
        starts = [value(child(node, "numStart")) for node in stated]
        style, start = next(filter(None, styles), usual), number(next(filter(None, starts), "1"), 1)
        found[kind] = partial(_note_number, start, style)
    return found


def _note_number(start: int, style: str, place: int) -> str:
    return write_number(start + place, style)


def _notes(context: Context, main: str, kind: str) -> list[str]:
    """Return the notes in the order of their references; notes of deleted or hidden references are counted."""
    root = _optional(context.package, main, f"{kind}s")
    if root is None:
        return []
    part = next(iter(context.package.related(main, f"{kind}s")), _beside(main, f"{kind}s"))
    nodes = {attribute(node, "id"): node for node in root if local(node) == kind}
    if not nodes:
        return Story(context, part).read(root)
    texts = {identity for identity, node in nodes.items() if attribute(node, "type") not in _SEPARATORS}
    order = [identity for identity in context.notes.order(kind) if identity in texts]
    rest = [identity for identity in nodes if identity in texts and identity not in order]
    hidden = [identity for identity in rest if (kind, identity) in context.notes.hidden]
    context.package.lose(part, "hidden", "notes of deleted or hidden marks", len(hidden))
    blocks = []
    for identity in [*order, *(identity for identity in rest if identity not in hidden)]:
        blocks += Story(context, part, mark=context.notes.mark(kind, identity)).read(nodes[identity])
    return blocks


# Headers and footers


def _margins(context: Context, main: str, settings: Element | None) -> tuple[list[str], list[str]]:
    """Return the headers and the footers that pages show, each text once; the others are counted as hidden."""
    package = context.package
    even = is_on(child(settings, "evenAndOddHeaders"))
    shown: dict[str, None] = {}
    unshown: dict[str, None] = {}
    for section in context.sections:
        first = is_on(child(section, "titlePg"))
        for node in section:
            if local(node) in ("headerReference", "footerReference"):
                kind = attribute(node, "type", "default")
                visible = kind == "default" or (kind == "first" and first) or (kind == "even" and even)
                (shown if visible else unshown)[package.find(main, attribute(node, "id"))] = None
    if not shown and not unshown:  # no section says, so all are taken to be shown
        shown = dict.fromkeys((*package.related(main, "header"), *package.related(main, "footer")))
    unshown |= dict.fromkeys((*package.related(main, "header"), *package.related(main, "footer")))
    texts: dict[str, list[str]] = {"hdr": [], "ftr": []}
    for part in filter(None, shown):
        root, blocks = _margin(context, part)
        texts["ftr" if root == "ftr" else "hdr"] += [block for block in blocks if block not in texts[root]]
    for part in filter(None, unshown):
        if part not in shown and any(block.strip() for block in _margin(context, part)[1]):
            package.lose(part, "hidden", "headers or footers of no page")
    return texts["hdr"], texts["ftr"]


def _margin(context: Context, part: str) -> tuple[str, list[str]]:
    """Return the name of a header's or footer's root, and its blocks without those that only number the pages."""
    try:
        root = context.package.parse(part)
    except Unreadable as refusal:
        context.package.lose(part, refusal.reason, refusal.detail)
        return "hdr", []
    story = Story(context, part)
    blocks = story.read(root)
    name = "ftr" if local(root) == "ftr" else "hdr"
    return name, [block for block in blocks if block.strip() and not story.is_only_page_numbers(block)]
