"""Stories of a Word document: the paragraphs, tables and shapes of its body, a header or its notes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.base import Piece, name_set
from tinsmith.corpus.readers.line import Line, append
from tinsmith.corpus.readers.ooxml.charts import read_chart, read_diagram
from tinsmith.corpus.readers.ooxml.context import Context
from tinsmith.corpus.readers.ooxml.drawing import paragraphs
from tinsmith.corpus.readers.ooxml.equations import equation
from tinsmith.corpus.readers.ooxml.fields import CHECKED, UNCHECKED, Fields, computed
from tinsmith.corpus.readers.ooxml.numbering import Counters
from tinsmith.corpus.readers.ooxml.package import (
    Element,
    Package,
    attribute,
    by_name,
    child,
    children,
    is_on,
    is_set,
)
from tinsmith.corpus.readers.ooxml.styles import Look, is_shade
from tinsmith.corpus.readers.ooxml.symbols import symbol, translate

_SKIPPED = name_set("pPr rPr tblPr tblGrid tblPrEx trPr tcPr sdtPr sdtEndPr customXmlPr smartTagPr fldData")
_MOVED = name_set("moveFrom")
_SPECIAL = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_REFERENCES = {"footnoteReference": "footnote", "endnoteReference": "endnote"}
_OBJECTS = {"OLEObject": "embedded objects", "control": "controls of a form", "contentPart": "handwriting"}
_INVISIBLE = re.compile(r"visibility\s*:\s*hidden|display\s*:\s*none")
_LETTER = re.compile(r"[^\W\d_]")


class Story:
    """A reader of one part's text. Losses are counted for its part."""

    def __init__(
        self, context: Context, part: str, *, counters: Counters | None = None, mark: str = ""
    ) -> None:
        """Read a part; its lists count from the start unless `counters` go on. `mark` is that of a note."""
        self.context, self.part, self._mark = context, part, mark
        self._counters = counters or Counters(context.numbering)
        self._fields = Fields()
        self._inside = 0  # tables and boxes around this place
        self._carried, self._carried_words = "", False

    def read(self, node: Element) -> list[str]:
        """Return the blocks of an element: paragraphs, tables and what stands in shapes."""
        blocks: list[str] = []
        self._collect(node, blocks)
        self._flush(blocks)
        self._lose("not_read", "text in fields without an end", self._fields.swallowed())
        return blocks

    def is_only_page_numbers(self, block: str) -> bool:
        """Return whether a block has nothing but figures, in a story that numbers pages."""
        return self._fields.saw_page and not _LETTER.search(block)

    def _lose(self, reason: str, detail: str, count: int = 1) -> None:
        self.context.package.lose(self.part, reason, detail, count)

    def _collect(self, node: Element, blocks: list[str]) -> None:
        for each in children(node):
            name = local(each)
            if name == "p":
                self._paragraph(each, blocks)
            elif name == "tbl":
                self._flush(blocks)
                self._table(each, blocks)
            elif name == "del":
                self._deleted(each)
            elif name == "altChunk":
                self._flush(blocks)
                package = self.context.package
                blocks += package.read_shown(self.part, attribute(each, "id"), "documents", _read_document)
            elif name == "sectPr":
                self.context.sections.append(each)
            elif name not in _SKIPPED and name not in _MOVED:
                self._collect(each, blocks)

    def _flush(self, blocks: list[str]) -> None:
        if self._carried:
            blocks.append(self._carried)
        self._carried = ""

    # Paragraphs

    def _paragraph(self, node: Element, blocks: list[str]) -> None:
        context = self.context
        properties = by_name(child(node, "pPr"))
        style = context.styles.paragraph_style(properties.get("pStyle"))
        mark = properties.get("rPr")
        if "sectPr" in properties:
            context.sections.append(properties["sectPr"])
        line = Line()
        apart: list[str] = []
        on_white = context.on_white and not self._inside and not is_shade(properties.get("shd"))
        self._inline(node, line, apart, (style, on_white))
        text = line.text()
        gone = not by_name(mark).keys().isdisjoint(("del", "moveFrom"))
        hidden = context.styles.vanishes(style, mark)
        label = "" if gone and not text else self._label(properties.get("numPr"), style, text)
        if hidden and not text:
            label = ""
        drop_cap = attribute(properties.get("framePr"), "dropCap", "none") != "none"
        whole = append(self._carried, append(label, text, spaced=True), spaced=self._carried_words)
        if gone or hidden or drop_cap:
            self._carried, self._carried_words = whole, hidden
        else:
            self._carried = ""
            blocks.append(whole)
        blocks += apart

    def _label(self, stated: Element | None, style: str, text: str) -> str:
        """Count a paragraph of a list. Returns what stands before its text."""
        place = self.context.numbering.place(stated, style)
        if place is None or self._carried:
            return ""
        label = self._counters.next(*place)
        if label is None or (label.is_bullet and not text.strip()):
            return ""
        if label.is_hidden and label.text:
            self._lose("hidden", "hidden numbers of paragraphs")
            return ""
        return label.text

    def _inline(self, node: Element, line: Line, apart: list[str], ground: tuple[str, bool]) -> None:
        """Append what a paragraph shows; `ground` is its style, and whether it stands on white."""
        for each in children(node):
            name = local(each)
            if name == "r":
                self._run(each, line, apart, ground)
            elif name in ("oMath", "oMathPara"):
                if not self._fields.in_code:
                    line.add_equation(equation(each))
                    self._fields.show()
            elif name == "fldSimple":
                self._fields.begin(attribute(each, "instr"))
                self._fields.separate()
                self._inline(each, line, apart, ground)
                self._end_field(line)
            elif name == "del":
                self._deleted(each)
            elif name == "sdt":
                self._control(each, line, apart, ground)
            elif name == "subDoc":
                self._lose("not_read", "documents that are elsewhere")
            elif name not in _SKIPPED and name not in _MOVED:
                self._inline(each, line, apart, ground)

    def _control(self, node: Element, line: Line, apart: list[str], ground: tuple[str, bool]) -> None:
        """Append the content of a content control, the state of a check box that has none."""
        content = child(node, "sdtContent")
        box = child(node, "sdtPr", "checkbox")
        if content is not None and (len(content) or box is None):
            self._inline(content, line, apart, ground)
        elif box is not None and not self._fields.in_code:
            line.add(CHECKED if is_on(child(box, "checked")) else UNCHECKED)

    def _run(self, run: Element, line: Line, apart: list[str], ground: tuple[str, bool]) -> None:
        look = self.context.styles.look(ground[0], child(run, "rPr"), on_white=ground[1])
        for each in children(run):
            name = local(each)
            if name == "fldChar":
                self._field_mark(each, line, look)
            elif name == "instrText":
                self._fields.add_code(each.text or "")
            elif (
                name in _SKIPPED or (name == "t" and self._fields.swallow(each.text)) or self._fields.in_code
            ):
                continue
            elif look.hidden:
                self._hide(each, name)
            elif name == "t":
                self._text(each.text or "", line, look)
            elif name in _SPECIAL:
                line.add(_SPECIAL[name], look.level if name == "noBreakHyphen" else 0)
            elif name == "ruby":
                self._ruby(each, line, apart, ground)
            elif name in ("drawing", "pict", "object"):
                shown = len(apart)
                self._graphic(each, apart)
                if len(apart) > shown:
                    self._fields.show()
            else:
                self._sign(each, name, line, look)

    def _text(self, text: str, line: Line, look: Look) -> None:
        text, unknown = translate(text, look.font)
        self._lose("not_read", "symbols", unknown)
        line.add(text, look.level)
        if text:
            self._fields.show()

    def _sign(self, node: Element, name: str, line: Line, look: Look) -> None:
        """Append one sign: a symbol of a font, the mark of a note."""
        if name in ("sym", "symEx"):
            code = attribute(node, "char")
            sign = (
                symbol(attribute(node, "font"), int(code, 16))
                if re.fullmatch("[0-9A-Fa-f]{1,5}", code)
                else ""
            )
            self._lose("not_read", "symbols", not sign)
            line.add(sign, look.level)
            self._fields.show()
        elif name in _REFERENCES:
            custom = is_set(node, "customMarkFollows")
            line.add(self.context.notes.refer(_REFERENCES[name], attribute(node, "id"), custom=custom))
        elif name in ("footnoteRef", "endnoteRef"):
            line.add(self._mark)
        elif name == "delText" and (node.text or "").strip():
            self._lose("hidden", "deleted text")

    def _hide(self, node: Element, name: str) -> None:
        """Count an element of a hidden run."""
        if name in _REFERENCES:
            self.context.notes.hidden.add((_REFERENCES[name], attribute(node, "id")))
        elif name in ("sym", "drawing", "pict", "object") or "".join(node.itertext()).strip():
            self._lose("hidden", "hidden text")

    def _deleted(self, node: Element) -> None:
        """Count text that a tracked change has deleted, and keep the fields in it apart from those that stay."""
        runs = 0
        for each in node.iter():
            name = local(each)
            if name in _REFERENCES:
                self.context.notes.hidden.add((_REFERENCES[name], attribute(each, "id")))
            elif name == "fldChar":
                self._field_mark(each, Line(), Look(hidden=True))
            runs += name in ("delText", "t") and bool((each.text or "").strip())
        self._lose("hidden", "deleted text", runs)

    def _ruby(self, node: Element, line: Line, apart: list[str], ground: tuple[str, bool]) -> None:
        """Append text with its reading, which stands above it, in parentheses."""
        for name, before, after in (("rubyBase", "", ""), ("rt", "(", ")")):
            if (part := child(node, name)) is not None:
                line.add(before)
                self._inline(part, line, apart, ground)
                line.add(after)

    # Fields

    def _field_mark(self, node: Element, line: Line, look: Look) -> None:
        kind = attribute(node, "fldCharType")
        if kind == "begin":
            self._fields.begin(data=child(node, "ffData"))
        elif kind == "separate":
            self._fields.separate()
        elif kind == "end":
            self._end_field(line, look)

    def _end_field(self, line: Line, look: Look | None = None) -> None:
        closed = self._fields.end()
        if closed is None or (look is not None and look.hidden):
            return
        shown = computed(closed)
        if shown is None:
            self._lose("not_read", "fields without a stored result")
        elif closed.kind == "EQ":
            line.add_equation(shown)
        else:
            line.add(shown)
        if shown:
            self._fields.show()

    # Shapes, charts, embedded documents

    def _graphic(self, node: Element, apart: list[str]) -> None:
        """Append the texts of a drawing, which stand apart from the paragraph that it belongs to."""
        package = self.context.package
        for each in children(node):
            name = local(each)
            if name == "txbxContent":
                inner = Story(self.context, self.part, counters=self.context.boxes)
                inner._inside = 1
                apart += inner.read(each)
            elif name == "txBody":
                apart += paragraphs(each)
            elif name == "chart":
                apart += package.read_shown(self.part, attribute(each, "id"), "charts", read_chart)
            elif name == "relIds":
                apart += package.read_shown(self.part, attribute(each, "dm"), "diagrams", read_diagram)
            elif name == "textpath":
                apart.append(attribute(each, "string"))
            elif name in _OBJECTS:
                package.lose_object(self.part, attribute(each, "id"), _OBJECTS[name])
            elif _is_hidden_shape(each):
                self._lose("hidden", "hidden shapes")
            else:
                self._graphic(each, apart)

    # Tables

    def _table(self, table: Element, blocks: list[str]) -> None:
        """Append a line for each row, cells between tabs; cells that hold tables or only lay out text are blocks."""
        self._inside += 1
        lines: list[str] = []
        for row in _nearest(table, "tr"):
            properties = child(row, "trPr")
            if is_on(child(properties, "hidden")):
                self._lose("hidden", "hidden rows")
            elif child(properties, "del") is not None:
                self._deleted(row)
            else:
                cells = [self._cell(cell) for cell in _nearest(row, "tc")]
                full = [cell for cell in cells if cell]
                if any(child(cell, "tbl") is not None for cell in _nearest(row, "tc")) or (
                    len(full) == 1 and len(full[0]) > 1
                ):
                    blocks.append("\n".join(lines))
                    lines = []
                    for cell in full:
                        blocks += cell
                else:
                    lines.append("\t".join(" ".join(" ".join(cell).split()) for cell in cells).rstrip())
        blocks.append("\n".join(lines))
        self._inside -= 1

    def _cell(self, cell: Element) -> list[str]:
        if child(cell, "tcPr", "cellDel") is not None:
            self._deleted(cell)
            return []
        blocks: list[str] = []
        self._collect(cell, blocks)
        self._flush(blocks)
        return [block for block in blocks if block.strip()]


def _nearest(node: Element, name: str) -> Iterator[Element]:
    """Yield the nearest descendants of a name: rows and cells may be inside content controls."""
    for each in children(node):
        if local(each) == name:
            yield each
        elif local(each) not in _SKIPPED:
            yield from _nearest(each, name)


def _is_hidden_shape(node: Element) -> bool:
    named = child(node, "docPr" if local(node) in ("inline", "anchor") else "cNvPr")
    hidden = is_set(named, "hidden") or (local(node) == "anchor" and is_set(node, "hidden"))
    return hidden or bool(_INVISIBLE.search(attribute(node, "style")))


def _read_document(package: Package, part: str) -> list[str]:
    """Return the text of a document within the document; what is lost in it is counted."""
    blocks = []
    for each in package.read_part(part, lambda: package.data(part)):
        if isinstance(each, Piece):
            blocks.append(each.text)
        else:
            package.lose(each.part, each.reason, each.detail, each.count)
    return blocks
