"""Numbers of paragraphs that Word computes from the lists of numbering.xml."""

from __future__ import annotations

import re
from typing import NamedTuple

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.numerals import knows, write_number
from tinsmith.corpus.readers.ooxml.package import Element, attribute, child, children, is_on, number, value
from tinsmith.corpus.readers.ooxml.styles import Numbered, Styles
from tinsmith.corpus.readers.ooxml.symbols import translate

_LEVELS = 9
_IN_WORDS = ("cardinalText", "ordinalText")  # English only
_PLACE = re.compile(r"%([1-9])")
_BULLET = "•"


class _Level(NamedTuple):
    start: int
    style: str  # the format of its number
    pattern: str
    legal: bool  # all numbers in plain figures
    restart: (
        int | None
    )  # 0: never; n: after a paragraph of one of the first n levels; None: of any level above
    suffix: str
    paragraph_style: str
    hidden: bool
    bullet: str


class _List(NamedTuple):
    source: str  # the definition whose numbers it counts
    levels: dict[int, _Level]
    starts: dict[int, int]


class Label(NamedTuple):
    """What stands before a numbered paragraph, the space after it included, and whether it is only a bullet."""

    text: str
    is_bullet: bool
    is_hidden: bool


class Numbering:
    """The lists of a document."""

    def __init__(self, root: Element | None, styles: Styles) -> None:
        """Take the root of numbering.xml, None where there is none."""
        nodes = [] if root is None else list(root)
        self._styles = styles
        self._definitions = {
            attribute(node, "abstractNumId"): node for node in nodes if local(node) == "abstractNum"
        }
        self._nodes = {attribute(node, "numId"): node for node in nodes if local(node) == "num"}
        self._lists: dict[str, _List | None] = {}
        self._by_style: dict[str, Numbered | None] = {}
        self.unknown: dict[str, int] = {}

    def place(self, own: Element | None, style: str) -> tuple[str, int] | None:
        """Return the list and the level of a paragraph with its own `numPr`, None if it has no number."""
        if style not in self._by_style:
            self._by_style[style] = self._styles.numbered(style)
        inherited = self._by_style[style]
        list_id, level = child(own, "numId"), child(own, "ilvl")
        if list_id is not None:
            identity = value(list_id)
        elif inherited is not None:
            identity = inherited.list_id
        else:
            return None
        found = self.find(identity)
        if found is None:
            return None
        if level is not None:
            return identity, min(max(number(value(level)), 0), _LEVELS - 1)
        return identity, _level_of(found, inherited)

    def find(self, identity: str) -> _List | None:
        """Return the list of an id, None for 0 and for lists that are not there."""
        if identity not in self._lists:
            self._lists[identity] = self._read(identity)
        return self._lists[identity]

    def _read(self, identity: str) -> _List | None:
        node = self._nodes.get(identity)
        if node is None or identity == "0":
            return None
        source = self._source(value(child(node, "abstractNumId")))
        definition = self._definitions.get(source)
        levels = {} if definition is None else _levels(definition)
        starts: dict[int, int] = {}
        for override in (each for each in node if local(each) == "lvlOverride"):
            index = number(attribute(override, "ilvl"))
            if (stated := child(override, "lvl")) is not None:
                levels[index] = _read_level(stated)
            if (start := child(override, "startOverride")) is not None:
                starts[index] = number(value(start))
        return _List(source, levels, starts)

    def _source(self, definition: str) -> str:
        """Follow a definition that only names a style of lists."""
        for _ in range(_LEVELS):
            style = value(child(self._definitions.get(definition), "numStyleLink"))
            linked = self._nodes.get(self._styles.list_of(style)) if style else None
            if linked is None:
                break
            definition = value(child(linked, "abstractNumId"))
        return definition

    def write(self, count: int, level: _Level, *, plain: bool) -> str:
        """Return a number of a level; formats that are not known are counted and give plain figures."""
        if plain:
            return str(count) if level.style not in ("none", "bullet") else ""
        foreign = level.style in _IN_WORDS and self._styles.language.lower()[:2] not in ("", "en")
        if level.style.startswith("0"):  # written out, such as 001, 002, 003, ...
            return f"{count:0{len(level.style.partition(',')[0].strip())}d}"
        if not knows(level.style) or foreign:
            self.unknown[level.style] = self.unknown.get(level.style, 0) + 1
            return str(count)
        return write_number(count, level.style)


class Counters:
    """The running numbers of all lists within one story: the body, the notes, a header."""

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._counts: dict[str, list[int | None]] = {}
        self._begun: set[tuple[str, int]] = set()

    def next(self, identity: str, index: int) -> Label | None:
        """Count a paragraph of a list at a level. Returns its label."""
        found = self._numbering.find(identity)
        level = found.levels.get(index) if found else None
        if found is None or level is None:
            return None
        counts = self._counts.setdefault(found.source, [None] * _LEVELS)
        before = counts[index]
        if index in found.starts and (identity, index) not in self._begun:
            counts[index] = found.starts[index]
        else:
            counts[index] = found.starts.get(index, level.start) if before is None else before + 1
        self._begun.add((identity, index))
        for deeper in range(index + 1, _LEVELS):
            restart = found.levels[deeper].restart if deeper in found.levels else None
            if restart is None or restart > deeper or index < restart:
                counts[deeper] = None
        return self._label(found, level, index, counts)

    def _label(self, found: _List, level: _Level, index: int, counts: list[int | None]) -> Label:
        if level.style == "bullet":
            return Label(level.bullet + (" " if level.bullet else ""), True, level.hidden)

        def figure(match: re.Match[str]) -> str:
            place = int(match[1]) - 1
            other = found.levels.get(place)
            if other is None or place > index or other.style == "bullet":
                return ""
            count = counts[place]
            shown = found.starts.get(place, other.start) if count is None else count
            return self._numbering.write(shown, other, plain=level.legal)

        text = _PLACE.sub(figure, level.pattern)
        return Label(text + (" " if text and level.suffix != "nothing" else ""), False, level.hidden)


def _level_of(found: _List, numbered: Numbered | None) -> int:
    """Return the level of a style: the one that names the style, else the one that the style names."""
    if numbered is None:
        return 0
    for style in numbered.styles:
        for index, level in found.levels.items():
            if level.paragraph_style == style:
                return index
    return min(max(numbered.level or 0, 0), _LEVELS - 1)


def _levels(definition: Element) -> dict[int, _Level]:
    return {
        number(attribute(node, "ilvl")): _read_level(node)
        for node in children(definition)
        if local(node) == "lvl"
    }


def _read_level(node: Element) -> _Level:
    shape = child(node, "numFmt")
    style = value(shape, "decimal")
    pattern = value(child(node, "lvlText"))
    restart = child(node, "lvlRestart")
    fonts = child(node, "rPr", "rFonts")
    return _Level(
        start=number(value(child(node, "start"), "0")),
        style=attribute(shape, "format", "decimal") if style == "custom" else style,
        pattern=pattern if attribute(child(node, "lvlText"), "null") not in ("1", "true") else "",
        legal=is_on(child(node, "isLgl")),
        restart=None if restart is None else number(value(restart)),
        suffix=value(child(node, "suff"), "tab"),
        paragraph_style=value(child(node, "pStyle")),
        hidden=is_on(child(node, "rPr", "vanish")),
        bullet=_bullet(pattern, attribute(fonts, "ascii") or attribute(fonts, "hAnsi"))
        if style == "bullet"
        else "",
    )


def _bullet(pattern: str, font: str) -> str:
    """Return the sign of a bullet, a round one where Unicode has no other."""
    if pattern == "o" and font.startswith("Courier"):
        return "○"
    shown = translate(pattern, font)[0].strip()
    return shown or (_BULLET if pattern else "")
