"""Fields of Word: which text is code, and what a field shows that stores no result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.base import name_set
from tinsmith.corpus.readers.ooxml.equations import operand, root
from tinsmith.corpus.readers.ooxml.package import Element, child, is_on, number, value
from tinsmith.corpus.readers.ooxml.symbols import symbol

CHECKED, UNCHECKED = "☒", "☐"
_PAGES = name_set("PAGE NUMPAGES SECTIONPAGES")
# Fields that show a text, which Word computes whenever it opens the document.
_COMPUTED = name_set(
    "= AUTHOR AUTONUM AUTONUMLGL AUTONUMOUT AUTOTEXT CITATION CREATEDATE DATE DOCPROPERTY DOCVARIABLE EDITTIME "
    "FILENAME INCLUDETEXT KEYWORDS LASTSAVEDBY LISTNUM MERGEFIELD NOTEREF NUMCHARS NUMWORDS PAGEREF PRINTDATE QUOTE "
    "REF SAVEDATE SECTION SEQ STYLEREF SUBJECT TIME TITLE USERADDRESS USERINITIALS USERNAME"
)
_SWITCH = re.compile(r"\\([a-zA-Z]+)(-?\d*)\s*")
_QUOTED = re.compile(r'"([^"]*)"|(\S+)')


@dataclass
class Field:
    """One field: its code, the data of a form, and whether its result shows anything."""

    code: str = ""
    data: Element | None = None
    in_code: bool = True
    shows: bool = False
    swallowed: int = 0

    @property
    def kind(self) -> str:
        """The first word of the code, in capitals."""
        return (self.code.split() or [""])[0].upper()


@dataclass
class Fields:
    """The fields that are open at a place of a story; they nest, and go across paragraphs."""

    _open: list[Field] = field(default_factory=list)
    saw_page: bool = False

    @property
    def in_code(self) -> bool:
        """Whether text at this place belongs to the code of a field, which is not shown."""
        return any(each.in_code for each in self._open)

    def begin(self, code: str = "", data: Element | None = None) -> None:
        """Open a field."""
        self._open.append(Field(code, data))

    def add_code(self, text: str) -> None:
        """Append to the code of the innermost field."""
        if self._open and self._open[-1].in_code:
            self._open[-1].code += text

    def separate(self) -> None:
        """Begin the result of the innermost field."""
        if self._open:
            self._open[-1].in_code = False

    def swallow(self, text: str | None) -> bool:
        """Return whether text at this place is not shown, and count it in case the field has no end."""
        if self.in_code and text and text.strip():
            self._open[-1].swallowed += 1
        return self.in_code

    def swallowed(self) -> int:
        """Return how many texts belong to the code of fields that are still open."""
        return sum(each.swallowed for each in self._open)

    def show(self) -> None:
        """Note that something is shown at this place."""
        for each in self._open:
            each.shows = True

    def end(self) -> Field | None:
        """Close the innermost field. Returns it if it is itself shown and has shown nothing."""
        if not self._open:
            return None
        closed = self._open.pop()
        self.saw_page = self.saw_page or closed.kind in _PAGES
        return None if closed.shows or self.in_code else closed


def computed(closed: Field) -> str | None:
    """Return what a field without a result shows; None if only Word can compute it."""
    words = [quoted or plain for quoted, plain in _QUOTED.findall(closed.code)]
    kind = closed.kind
    if kind == "FORMCHECKBOX":
        return _check_box(child(closed.data, "checkBox"))
    if kind == "FORMDROPDOWN":
        return _choice(child(closed.data, "ddList"))
    if kind == "SYMBOL":
        return _symbol(words)
    if kind in ("MACROBUTTON", "GOTOBUTTON"):
        return closed.code.split(maxsplit=2)[2].strip() if len(words) > 2 else ""
    if kind == "EQ":
        return linear(closed.code.strip()[2:].strip())
    return None if kind in _COMPUTED or kind.startswith("=") else ""


def _check_box(box: Element | None) -> str:
    state = child(box, "checked")
    return CHECKED if is_on(child(box, "default") if state is None else state) else UNCHECKED


def _choice(choices: Element | None) -> str:
    entries = [] if choices is None else [value(node) for node in choices if local(node) == "listEntry"]
    chosen = number(value(child(choices, "result")) or value(child(choices, "default")))
    return entries[chosen] if 0 <= chosen < len(entries) else ""


def _symbol(words: Sequence[str]) -> str:
    code = words[1] if len(words) > 1 else ""
    if code.lower().startswith("0x"):
        point = int(code, 16) if re.fullmatch(r"0x[0-9a-f]{1,5}", code.lower()) else 0
    else:
        point = number(code) if code.isdecimal() else ord(code[:1] or "\0")
    font = next((after for word, after in pairwise(words) if word.lower() == "\\f"), "")
    return symbol(font, point) if point else ""


def linear(code: str) -> str:
    r"""Return the code of an EQ field as text: `\f(1,2)` as 1/2, `\r(3,x)` as ∛x, `\s\up6(2)` as ^2."""
    written, position = "", 0
    while position < len(code):
        switches = []
        while match := _SWITCH.match(code, position):
            switches.append(match[1].lower())
            position = match.end()
        if switches and position < len(code) and code[position] == "(":
            end = _closing(code, position)
            arguments = [linear(part.strip()) for part in _split(code[position + 1 : end])]
            written += _apply(switches, arguments, written)
            position = end + 1
        elif not switches:
            position += code[position] == "\\"  # \( and the like stand for the sign itself
            written += code[position : position + 1]
            position += 1
    return written


def _apply(switches: Sequence[str], arguments: Sequence[str], before: str) -> str:
    kind = switches[0][0]
    first, last = arguments[0], arguments[-1]
    if kind == "f" and len(arguments) > 1:
        return (" " if before[-1:].isdigit() else "") + f"{operand(first)}/{operand(arguments[1])}"
    if kind == "r":
        return root(first if len(arguments) > 1 else "", last)
    if kind == "s":
        return ("_" if any(switch.startswith("do") for switch in switches) else "^") + operand(first)
    if kind == "b":
        return f"({', '.join(arguments)})"
    if kind == "i":
        return (
            "∫"
            + "".join(f"{mark}{operand(text)}" for mark, text in zip("_^", arguments) if text)
            + f" {last}"
        )
    return ("" if kind in "ox" else ", ").join(arguments)


def _closing(code: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(code)):
        if code[position - 1] != "\\":
            depth += (code[position] == "(") - (code[position] == ")")
        if depth == 0:
            return position
    return len(code)


def _split(code: str) -> list[str]:
    """Split the arguments of a switch at commas or semicolons outside of inner parentheses."""
    parts, depth = [""], 0
    for position, sign in enumerate(code):
        escaped = position > 0 and code[position - 1] == "\\"
        depth += 0 if escaped else (sign == "(") - (sign == ")")
        if sign in ",;" and depth == 0 and not escaped:
            parts.append("")
        else:
            parts[-1] += sign
    return parts
