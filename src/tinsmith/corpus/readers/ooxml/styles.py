"""Styles of a Word document: which text they hide, raise or show in a font of symbols, and which they number."""

from __future__ import annotations

from typing import NamedTuple

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.line import LEVEL, LOWERED, RAISED
from tinsmith.corpus.readers.ooxml.package import Element, attribute, child, is_on, number, value
from tinsmith.corpus.readers.ooxml.symbols import is_symbol_font

Properties = dict[str, str | bool | int]

_ALIGNMENTS = {"superscript": RAISED, "subscript": LOWERED}
_LEAST_SHIFT = 4  # half-points; less adjusts a picture or a logo
_UNREADABLE = 2  # half-points, the size of text that nobody sees
_WHITE = ("FFFFFF", "background1", "bg1", "light1")
_BARE = ("", "auto", "FFFFFF")


class Look(NamedTuple):
    """How a run looks: whether it is hidden, its level on the line, and its font if that is one of symbols."""

    hidden: bool = False
    level: int = LEVEL
    font: str = ""


class Numbered(NamedTuple):
    """The numbering that a style gives: a list by its id, a level if the style names one, and the style itself."""

    list_id: str
    level: int | None
    styles: tuple[str, ...]


class Styles:
    """The styles of a document, with what they inherit."""

    def __init__(self, root: Element | None) -> None:
        """Take the root of styles.xml, None where there is none."""
        nodes = [] if root is None else [node for node in root if local(node) == "style"]
        self._styles = {attribute(node, "styleId"): node for node in nodes}
        self._default = {
            attribute(node, "type"): attribute(node, "styleId")
            for node in nodes
            if attribute(node, "default") and attribute(node, "default") not in ("0", "false")
        }
        defaults = child(root, "docDefaults", "rPrDefault", "rPr")
        self._defaults = run_properties(defaults)
        self.language = value(child(defaults, "lang"))
        self._merged: dict[tuple[str, str], Properties] = {}
        self._inherited: dict[str, Properties] = {}

    def paragraph_style(self, stated: Element | None) -> str:
        """Return the style of a paragraph that states one, or the default style."""
        return value(stated) or self._default.get("paragraph", "")

    def look(self, paragraph_style: str, properties: Element | None, *, on_white: bool) -> Look:
        """Return how a run with these properties looks; text that is white counts as hidden only `on_white`."""
        own = run_properties(properties)
        whole = self._merge(paragraph_style, str(own.get("style", ""))) | own
        white = bool(whole.get("white")) and on_white and not whole.get("shaded")
        hidden = bool(whole.get("vanish")) or white or bool(whole.get("tiny"))
        return Look(hidden, int(whole.get("level", LEVEL)), str(whole.get("font", "")))

    def vanishes(self, paragraph_style: str, properties: Element | None) -> bool:
        """Return whether the mark of a paragraph is hidden, so that the paragraph runs on into the next."""
        own = run_properties(properties)
        inherited = self._merge(paragraph_style, str(own.get("style", "")))
        return bool(own.get("vanish", inherited.get("vanish")))

    def numbered(self, style: str) -> Numbered | None:
        """Return the numbering that a paragraph style has or inherits."""
        level: int | None = None
        passed: list[str] = []
        for identity, node in self._line(style):
            passed.append(identity)
            found = child(node, "pPr", "numPr")
            if level is None and (stated := child(found, "ilvl")) is not None:
                level = number(value(stated))
            if (list_id := child(found, "numId")) is not None:
                return Numbered(value(list_id), level, tuple(passed))
        return None

    def list_of(self, style: str) -> str:
        """Return the id of the list that a numbering style has."""
        return value(child(self._styles.get(style), "pPr", "numPr", "numId"))

    def _line(self, style: str) -> list[tuple[str, Element]]:
        """Return a style and those that it is based on, itself first."""
        line: list[tuple[str, Element]] = []
        seen: set[str] = set()
        while style in self._styles and style not in seen:
            seen.add(style)
            node = self._styles[style]
            line.append((style, node))
            style = value(child(node, "basedOn"))
        return line

    def _inherit(self, style: str) -> Properties:
        if style not in self._inherited:
            merged: Properties = {}
            for _, node in reversed(self._line(style)):
                merged |= run_properties(child(node, "rPr"))
            self._inherited[style] = merged
        return self._inherited[style]

    def _merge(self, paragraph_style: str, character_style: str) -> Properties:
        key = (paragraph_style, character_style)
        if key not in self._merged:
            paragraph = self._inherit(paragraph_style)
            character = self._inherit(character_style or self._default.get("character", ""))
            merged = self._defaults | paragraph | character
            # A property that toggles: set by both styles, they cancel each other.
            toggled = bool(paragraph.get("vanish")) != bool(character.get("vanish"))
            merged["vanish"] = bool(self._defaults.get("vanish")) or toggled
            if any(is_shade(child(node, "pPr", "shd")) for _, node in self._line(paragraph_style)):
                merged["shaded"] = True
            self._merged[key] = merged
        return self._merged[key]


def run_properties(properties: Element | None) -> Properties:
    """Return what the properties of a run say of its look, and its style."""
    found: Properties = {}
    for node in () if properties is None else properties:
        name = local(node)
        if name == "vanish":
            found["vanish"] = is_on(node)
        elif name == "vertAlign":
            found["level"] = _ALIGNMENTS.get(value(node), LEVEL)
        elif name == "position" and abs(shift := number(value(node))) >= _LEAST_SHIFT:
            found["level"] = RAISED if shift > 0 else LOWERED
        elif name == "rFonts":
            font = attribute(node, "ascii") or attribute(node, "hAnsi")
            if font or attribute(node, "asciiTheme"):
                found["font"] = font if is_symbol_font(font) else ""
        elif name == "color":
            found["white"] = (value(node).upper() or attribute(node, "themeColor")) in _WHITE
        elif name == "shd":
            found["shaded"] = is_shade(node)
        elif name == "highlight":
            found["shaded"] = value(node) not in ("none", "white")
        elif name == "sz":
            found["tiny"] = number(value(node), _UNREADABLE + 1) <= _UNREADABLE
        elif name == "rStyle":
            found["style"] = value(node)
    return found


def is_shade(node: Element | None) -> bool:
    """Return whether a shading is there and not white."""
    if node is None:
        return False
    patterned = value(node) not in ("", "clear", "nil")
    return patterned or attribute(node, "fill") not in _BARE or bool(attribute(node, "themeFill"))
