"""Read PowerPoint shows: slides in their order with notes, tables, charts; what all slides show, once."""

from __future__ import annotations

import re
import zipfile

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.base import Part, Piece, Unreadable, join_blocks
from tinsmith.corpus.readers.ooxml.charts import read_chart, read_diagram
from tinsmith.corpus.readers.ooxml.drawing import paragraphs
from tinsmith.corpus.readers.ooxml.package import (
    Element,
    Package,
    PartReader,
    attribute,
    child,
    children,
    descendants,
    is_set,
    number,
)

_UNREAD = re.compile(
    r"ppt/(?:charts/chart[^/]*\.xml|diagrams/data[^/]*\.xml|embeddings/[^/]+)", re.IGNORECASE
)
_COMMENTS = re.compile(r"ppt/comments/[^/]+\.xml", re.IGNORECASE)
_REPEATED = ("dt", "ftr", "hdr")  # date, footer and header, which are alike on many slides
_TITLES = ("title", "ctrTitle")
_BODIES = ("", "body", "subTitle", "obj", "tbl", "chart", "dgm")


def read_pptx(archive: zipfile.ZipFile, read_part: PartReader) -> list[Part]:
    """Return the text of a show, and what of it is not text as losses. Raises Unreadable: damaged."""
    package = Package(archive, read_part)
    show = _Show(package, package.main_part("ppt/presentation.xml"))
    blocks = show.read()
    for name in package.names:
        if _COMMENTS.fullmatch(name):
            count = sum(local(node) == "cm" for node in package.parse(name).iter())
            package.lose(name, "not_read", "comments", count)
        elif _UNREAD.fullmatch(name) and name.lower() not in package.opened:
            package.lose(name, "not_read")
    return [Piece(join_blocks(blocks), {"slides": show.slides}), *package.losses()]


class _Show:
    """A reader of one show."""

    def __init__(self, package: Package, main: str) -> None:
        self._package, self._main = package, main
        self._root = package.parse(main)
        size = child(self._root, "sldSz")
        self._size = number(attribute(size, "cx")), number(attribute(size, "cy"))
        self._repeated: dict[str, None] = {}
        self._parsed: dict[str, Element] = {}
        self._statics: set[str] = set()
        self.slides = 0

    def read(self) -> list[str]:
        """Return the blocks of all slides that are shown, then what repeats on them."""
        blocks: list[str] = []
        ids = child(self._root, "sldIdLst")
        for node in () if ids is None else children(ids):
            identity = next((text for key, text in node.attrib.items() if key.endswith("}id")), "")
            slide = self._package.find(self._main, identity)
            if not slide:
                self._package.lose(self._main, "damaged", "slides that are missing")
                continue
            self.slides += 1
            try:
                blocks += self._slide(slide)
            except Unreadable as refusal:
                self._package.lose(slide, refusal.reason, refusal.detail)
        return [*blocks, *self._repeated]

    def _slide(self, part: str) -> list[str]:
        root = self._package.parse(part)
        if not is_set(root, "show", "1"):
            self._package.lose(part, "hidden", "hidden slides")
            self._open_all(part)
            return []
        layouts = self._package.related(part, "slideLayout")[:1]
        masters = [master for layout in layouts for master in self._package.related(layout, "slideMaster")][
            :1
        ]
        # What layout and master show on each slide of theirs, unless slide or layout switch it off.
        shown = is_set(root, "showMasterSp", "1")
        for layout in layouts if shown else ():
            self._static(layout)
            if is_set(self._load(layout), "showMasterSp", "1"):
                for master in masters:
                    self._static(master)
        shapes = _Shapes(self._package, part, [self._load(name) for name in (*layouts, *masters)])
        shapes.size = self._size if "animMotion" not in {local(node) for node in root.iter()} else (0, 0)
        blocks = shapes.read(root)
        self._repeated |= dict.fromkeys(shapes.repeated)
        for notes in self._package.related(part, "notesSlide"):
            below = _Shapes(self._package, notes, [])
            blocks += below.read(self._package.parse(notes))
            self._repeated |= dict.fromkeys(below.repeated)
        return blocks

    def _load(self, part: str) -> Element:
        if part not in self._parsed:
            self._parsed[part] = self._package.parse(part)
        return self._parsed[part]

    def _static(self, part: str) -> None:
        """Take the texts of a layout or master that are not places for a slide's own."""
        if part not in self._statics:
            self._statics.add(part)
            shapes = _Shapes(self._package, part, [])
            shapes.own_only = True
            self._repeated |= dict.fromkeys(block for block in shapes.read(self._load(part)) if block.strip())

    def _open_all(self, part: str) -> None:
        """Note the parts of a hidden slide, which are hidden with it."""
        for relation in self._package.relations(part).values():
            self._package.opened.add(relation.target.lower())


class _Shapes:
    """A reader of the shapes of one slide, layout or page of notes."""

    def __init__(self, package: Package, part: str, above: list[Element]) -> None:
        self._package, self._part = package, part
        self._above = above  # layout and master
        self.repeated: list[str] = []
        self.size = (0, 0)  # of the slide; shapes beside it are hidden
        self.own_only = False  # whether places for a slide's own text are left out

    def read(self, root: Element) -> list[str]:
        """Return the blocks of all shapes in their order."""
        tree = child(root, "cSld", "spTree")
        blocks: list[str] = []
        for node in () if tree is None else children(tree):
            self._shape(node, blocks, is_top=True)
        return blocks

    def _shape(self, node: Element, blocks: list[str], *, is_top: bool = False) -> None:
        name = local(node)
        named = next((child(each, "cNvPr") for each in children(node) if local(each).startswith("nv")), None)
        if is_set(named, "hidden") or (is_top and self._is_beside(node)):
            self._package.lose(self._part, "hidden", "hidden shapes", _has_text(node))
        elif name == "grpSp":
            for each in children(node):
                self._shape(each, blocks)
        elif name == "graphicFrame":
            self._frame(node, blocks)
        elif (body := child(node, "txBody")) is not None:
            self._text(node, body, blocks)

    def _text(self, node: Element, body: Element, blocks: list[str]) -> None:
        place = child(node, "nvSpPr", "nvPr", "ph")
        kind = attribute(place, "type") if place is not None else None
        if kind in ("sldNum", "sldImg") or (self.own_only and place is not None):
            return
        texts = paragraphs(body, self._styles(kind, attribute(place, "idx")))
        if kind in _REPEATED:
            self.repeated += [text for text in texts if text.strip()]
        else:
            blocks += texts

    def _styles(self, kind: str | None, index: str) -> list[Element]:
        """Return the list styles that a shape inherits: of its place in layout and master, and of the master."""
        if not self._above:
            return []
        places = []
        for root in self._above if kind is not None else ():
            place = _place(root, kind or "", index)
            places.append(child(place, "txBody", "lstStyle"))
            # A master knows the kind that the layout's place has, not the index of the slide's.
            kind, index = attribute(child(place, "nvSpPr", "nvPr", "ph"), "type", kind or ""), ""
        name = "titleStyle" if kind in _TITLES else "bodyStyle" if kind in _BODIES else "otherStyle"
        places.append(child(self._above[-1], "txStyles", name))
        return [style for style in places if style is not None]

    def _frame(self, node: Element, blocks: list[str]) -> None:
        """Append a table, a chart or a diagram."""
        package = self._package
        for each in descendants(node):
            name = local(each)
            if name == "tbl":
                blocks.append(_table(each))
                return
            if name == "chart":
                blocks += package.read_shown(self._part, attribute(each, "id"), "charts", read_chart)
            elif name == "relIds":
                blocks += package.read_shown(self._part, attribute(each, "dm"), "diagrams", read_diagram)
            elif name == "oleObj":
                package.lose_object(self._part, attribute(each, "id"), "embedded objects")

    def _is_beside(self, node: Element) -> bool:
        """Return whether a shape lies wholly outside the slide."""
        frames = (child(node, *path) for path in (("spPr", "xfrm"), ("grpSpPr", "xfrm"), ("xfrm",)))
        frame = next((each for each in frames if each is not None), None)
        corner, extent = child(frame, "off"), child(frame, "ext")
        if corner is None or extent is None or not all(self.size):
            return False
        for axis, length, limit in zip("xy", ("cx", "cy"), self.size):
            start = number(attribute(corner, axis))
            if start >= limit or start + number(attribute(extent, length)) <= 0:
                return True
        return False


def _has_text(node: Element) -> bool:
    return any(local(each) == "t" and (each.text or "").strip() for each in node.iter())


def _place(root: Element, kind: str, index: str) -> Element | None:
    """Return the shape of a layout or master that is the place for one of a slide."""
    places = [
        (node, place)
        for node in root.iter()
        if local(node) == "sp" and (place := child(node, "nvSpPr", "nvPr", "ph")) is not None
    ]
    by_index = (node for node, place in places if index and attribute(place, "idx") == index)
    kinds = _TITLES if kind in _TITLES else ("body", "") if kind in _BODIES else (kind,)
    by_kind = (node for node, place in places if attribute(place, "type") in kinds)
    return next(by_index, next(by_kind, None))


def _table(table: Element) -> str:
    rows = [row for row in children(table) if local(row) == "tr"]
    return "\n".join(
        "\t".join(_cell(cell) for cell in children(row) if local(cell) == "tc").rstrip() for row in rows
    )


def _cell(cell: Element) -> str:
    body = child(cell, "txBody")
    return "" if body is None else " ".join(" ".join(paragraphs(body)).split())
