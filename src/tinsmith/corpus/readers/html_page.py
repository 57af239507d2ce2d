"""Walk the elements of an HTML page and write what a browser shows as lines of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tinsmith.corpus.readers.base import Loss, name_set
from tinsmith.corpus.readers.html_state import LINE, PARAGRAPH, Attributes, Flow, ListNumbers, RowSpans
from tinsmith.corpus.readers.raised import LEVEL, LOWERED, RAISED
from tinsmith.corpus.readers.styles import Look, Style, Styles

# What is left to do, in order: an element or text within a look, or an action.
Step = tuple[Any, Look] | Callable[[], None]

# Code, names and definitions within drawings, and brackets for browsers without ruby.
_SKIPPED = name_set(
    "script style head title desc metadata defs symbol clippath lineargradient radialgradient rp annotation "
    "annotation-xml param source track"
)
# Hidden by every browser, or by those that run scripts.
_HIDDEN = name_set("template noscript datalist noframes mphantom ix:header ix:hidden")
_UNREAD = name_set("iframe object embed video audio canvas applet frame")
_PARAGRAPHS = name_set(
    "p h1 h2 h3 h4 h5 h6 ul ol dl dir table blockquote pre listing xmp plaintext hr section article header footer "
    "nav aside main figure form fieldset details dialog hgroup menu search"
)
_LINES = name_set(
    "div li tr dt dd caption figcaption legend address option optgroup body center summary text foreignobject mtr"
)
# The words on the two sides of these are not one.
_APART = name_set("button label textarea img meter progress mspace mtd")
_EXACT = name_set("pre listing xmp plaintext textarea")
_LISTS = name_set("ol ul menu dir")
_TYPED = name_set("text search tel url email number date time month week datetime-local submit button reset")
_LINE_DISPLAYS = ("block", "flex", "grid", "list-item", "table", "flow-root", "table-row", "table-caption")
# A longer cell, or one with a table in it, serves page layout and contains paragraphs.
_MAX_CELL_CHARACTERS = 300
_SIGNED = re.compile("[+\u2212-]?\\d+")
_MARKUP = re.compile(r"\s*(?:\?|\[|<)")  # comments that are declarations, conditions or disused elements


class PageReader:
    """The text of a page, and counts of what it hides by cause and of what is not read by element."""

    def __init__(self, tree: Any) -> None:
        self.flow = Flow()
        self.hidden: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self._styles = Styles(tree)
        self._numbers = ListNumbers()
        self._spans = RowSpans()
        self._outer: list[Flow] = []  # around the cell that is read
        self._special = {
            "br": self._break,
            **dict.fromkeys(("td", "th"), self._cell),
            **dict.fromkeys(("sup", "sub"), self._shifted),
            **dict.fromkeys(_LISTS, self._list),
            "li": self._item,
            "table": self._table,
            "tr": self._row,
            "a": self._link,
            "q": self._quotation,
            "rt": self._reading,
            "input": self._input,
            "select": self._select,
            "mn": self._number,
            "mfrac": self._fraction,
            **dict.fromkeys(("msup", "mover"), self._power),
            **dict.fromkeys(("msub", "munder"), self._index),
            **dict.fromkeys(("msubsup", "munderover"), self._index_and_power),
            "msqrt": self._root,
            "mroot": self._root,
        }
        self._walk((tree.root, self._styles.root))

    def text(self) -> str:
        """Return the text of the page."""
        return self.flow.text()

    def losses(self) -> list[Loss]:
        """Return what is not in the text: what is hidden first, then elements that show another file."""
        lost = [Loss(f"<{name}>", "not_read", count=count) for name, count in sorted(self.unread.items())]
        causes = ", ".join(sorted(self.hidden))
        return [*([Loss("elements", "hidden", causes, self.hidden.total())] if self.hidden else []), *lost]

    def _walk(self, first: Step) -> None:
        """Visit nodes in document order, without recursion: pages nest deeper than Python's stack."""
        stack = [first]
        while stack:
            step = stack.pop()
            if not isinstance(step, tuple):
                step()
                continue
            node, look = step
            tag = node.tag
            if tag == "-text":
                self._text(node.text_content or "", look)
            elif tag == "-comment":
                self._comment(node.comment_content or "")
            elif not tag.startswith(("-", "_", "!")):
                stack.extend(reversed(self._element(node, tag.lower(), look)))

    def _comment(self, text: str) -> None:
        if text.strip() and not _MARKUP.match(text):
            self.hidden["comment"] += 1

    def _text(self, text: str, look: Look) -> None:
        if cause := _hidden_by(look):
            if text.strip():
                self.hidden[cause] += 1
                self._add(" " if look.size else "")
        elif look.exact and (text.strip() or not self.flow.owed):
            self.flow.add_exact(text)
        else:
            self.flow.add(text)

    def _element(self, node: Any, tag: str, look: Look) -> list[Step]:
        if tag in _SKIPPED:
            return []
        attributes = node.attributes
        style = self._styles.of(node, attributes, look)
        if cause := f"<{tag}>" if tag in _HIDDEN else style.hidden_by:
            self._count_hidden(node, cause)
            return []
        if tag in _EXACT:
            style = style._replace(look=style.look._replace(exact=True))
        if look.spread or tag in _APART:
            self.flow.part()
        if tag in _UNREAD:
            self.unread[tag] += 1
            self.flow.part()
            return []
        if tag in self._special and not (tag == "li" and style.display.startswith("inline")):
            steps = self._special[tag](node, attributes, style)
        else:
            steps = self._plain(node, tag, style)
        return [*steps, self._part] if look.spread or tag in _APART else steps

    def _part(self) -> None:
        self.flow.part()

    def _add(self, text: str) -> None:
        self.flow.add(text)

    def _count_hidden(self, node: Any, cause: str) -> None:
        parts = (node.template_fragments() if node.tag == "template" else None) or [node]
        words = sum(len(part.text().split()) for part in parts)
        code = sum(len(code.text().split()) for part in parts for code in part.css("script, style"))
        if words > code:
            self.hidden[cause] += 1

    def _plain(self, node: Any, tag: str, style: Style) -> list[Step]:
        """Return the steps of an element without rules of its own: its children, apart if it is a block."""
        if lines := _lines(tag, style.display):
            self.flow.owe(lines)
            return [*_children(node, style.look), lambda: self.flow.owe(lines)]
        if style.shift and tag not in ("body", "html"):
            return self._shifted(node, {}, style)
        after: list[Step] = [self._end_cell] if style.display == "table-cell" else []
        return [*_children(node, style.look), *after]

    def _break(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        self.flow.break_line()
        return []

    def _table(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        self._spans.open_table()
        return [*self._plain(node, "table", style), self._spans.close_table]

    def _row(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        self._spans.open_row()
        return [*self._plain(node, "tr", style), self._spans.close_row]

    def _cell(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        filled = self._spans.place(attributes)
        if _lines("", style.display):
            return self._plain(node, "td", style)
        if not _is_data(node):
            return [*_children(node, style.look), self._end_cell]
        self.flow.skip_cells(filled)
        self._outer.append(self.flow)
        self.flow = Flow()
        return [*_children(node, style.look), self._end_data_cell]

    def _end_data_cell(self) -> None:
        """Write a cell on one line, with spaces where a browser would break it."""
        text = " ".join(self.flow.text().split())
        self.flow = self._outer.pop()
        self.flow.add(text)
        self.flow.skip_cells(1)

    def _end_cell(self) -> None:
        # Not after a pending break: the tab would start a line, and the texts are separate already.
        if not self.flow.owed:
            self.flow.skip_cells(1)

    def _list(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        items = sum(child.tag == "li" for child in _elements(node))
        self._numbers.open(node.tag, attributes, items)
        return [*self._plain(node, node.tag, style), self._numbers.close]

    def _item(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        steps = self._plain(node, "li", style)
        if number := self._numbers.next(attributes, style.look.marker):
            self.flow.mark(number)
        return steps

    def _link(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        kinds = f"{attributes.get('epub:type') or ''} {attributes.get('role') or ''}"
        if "noteref" in kinds and (note := node.text().strip()).isalnum():
            self.flow.add(f"[{note}]")
            return []
        return self._plain(node, "a", style)

    def _shifted(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        """Mark what is raised or lowered; the number of a note that is a link stands in brackets."""
        raised = style.shift > 0 or (node.tag == "sup" and not style.shift)
        if raised and (note := _linked_note(node)):
            self.flow.add(f"[{note}]")
            return []
        begin, end = (lambda: self.flow.add_exact(RAISED if raised else LOWERED)), self._level
        return [begin, *_children(node, style.look), end]

    def _level(self) -> None:
        self.flow.add_exact(LEVEL)

    def _quotation(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        return [lambda: self._add("“"), *self._plain(node, "q", style), lambda: self._add("”")]

    def _reading(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        """Write how a word is pronounced in brackets after it."""
        return [lambda: self._add("("), *self._plain(node, "rt", style), lambda: self._add(")")]

    def _input(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        kind = (attributes.get("type") or "text").lower()
        if kind == "hidden":
            return []
        shown = attributes.get("value") or "" if kind in _TYPED else ""
        if kind in ("checkbox", "radio"):
            shown = "[x]" if "checked" in attributes else "[ ]"
        self.flow.part()
        if shown and not _hidden_by(style.look):
            self.flow.add(f" {shown}")
        return [self._part]

    def _select(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        """Read the chosen option, or all if they are a list; the others are hidden."""
        options = node.css("option")
        if "multiple" in attributes or (attributes.get("size") or "1") != "1":
            return self._plain(node, "div", style)
        chosen = [option for option in options if "selected" in option.attributes][-1:] or options[:1]
        if unchosen := len(options) - len(chosen):
            self.hidden["<option>"] += unchosen
        self.flow.part()
        steps = [step for option in chosen for step in _children(option, style.look)]
        return [lambda: self._add(" "), *steps, lambda: self._add(" ")]

    def _number(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        if self.flow.ends_in_digit():
            self.flow.add(" ")
        return self._plain(node, "mn", style)

    def _fraction(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        if self.flow.ends_in_digit():
            self.flow.add(" ")
        return self._joined(node, style, "/")

    def _power(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        return self._joined(node, style, "^")

    def _index(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        return self._joined(node, style, "_")

    def _index_and_power(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        return self._joined(node, style, "_", "^")

    def _joined(self, node: Any, style: Style, *signs: str) -> list[Step]:
        """Return the sides of a formula with signs between them; an accent follows its letter without one."""
        sides = _elements(node)
        steps: list[Step] = []
        for sign, side in zip(("", *signs), sides, strict=False):
            accent = sign in "^_" and not any(map(str.isalnum, side.text()))
            steps.append(lambda sign=sign, accent=accent: self.flow.add("" if accent else sign))  # type: ignore[misc]
            steps += self._grouped([side], style.look)
        return steps

    def _root(self, node: Any, attributes: Attributes, style: Style) -> list[Step]:
        sides = _elements(node)
        if node.tag == "msqrt":
            return [lambda: self._add("√"), *self._grouped(sides, style.look)]
        degree = self._grouped(sides[1:], style.look)
        return [
            *self._grouped(sides[:1], style.look),
            lambda: self._add("^(1/"),
            *degree,
            lambda: self._add(")"),
        ]

    def _grouped(self, nodes: list[Any], look: Look) -> list[Step]:
        """Return nodes in brackets, unless they are one number or sign."""
        steps: list[Step] = [(node, look) for node in nodes]
        signs = sum(len(node.css("mi, mn, mo, mtext")) for node in nodes)
        if signs <= 1 or _SIGNED.fullmatch("".join(node.text() for node in nodes).strip()):
            return steps
        return [lambda: self._add("("), *steps, lambda: self._add(")")]


@lru_cache(maxsize=1024)
def _hidden_by(look: Look) -> str:
    return look.hidden_by


@lru_cache(maxsize=1024)
def _lines(tag: str, display: str) -> int:
    """Return how many line breaks an element has at both ends."""
    if display.startswith(("inline", "contents", "ruby")):
        return 0
    usual = PARAGRAPH if tag in _PARAGRAPHS else LINE if tag in _LINES else 0
    return usual or (LINE if display.startswith(_LINE_DISPLAYS) and display != "table-cell" else 0)


def _children(node: Any, look: Look) -> list[Step]:
    steps: list[Step] = []
    child = node.child
    while child is not None:
        steps.append((child, look))
        child = child.next
    return steps


def _elements(node: Any) -> list[Any]:
    return list(node.iter(include_text=False))


def _is_data(cell: Any) -> bool:
    return cell.css_first("table, script, style") is None and len(cell.text()) <= _MAX_CELL_CHARACTERS


def _linked_note(node: Any) -> str:
    """Return the number of a note if a raised element is, or is within, a link to a place; else the empty string."""
    around, within = node.parent, next(iter(_elements(node)), None)
    for link in (around, within):
        if link is not None and link.tag == "a" and "#" in (link.attributes.get("href") or ""):
            note = node.text().strip()
            if note.isalnum() and link.text().strip() == note:
                return str(note)
    return ""
