"""Text of shapes (DrawingML): paragraphs with their numbers and bullets, in slides, charts and diagrams."""

from __future__ import annotations

from collections.abc import Sequence

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.line import LEVEL, LOWERED, RAISED, Line
from tinsmith.corpus.readers.numerals import letters, roman, write_number
from tinsmith.corpus.readers.ooxml.equations import equation
from tinsmith.corpus.readers.ooxml.package import Element, attribute, child, children, number
from tinsmith.corpus.readers.ooxml.symbols import is_symbol_font, translate

_BULLET = "•"
_BULLETS = ("buNone", "buChar", "buAutoNum", "buBlip")
_LEVELS = 9
_AROUND = {
    "Period": ("", "."),
    "ParenR": ("", ")"),
    "ParenBoth": ("(", ")"),
    "Plain": ("", ""),
    "Minus": ("", "-"),
}


def paragraphs(body: Element, styles: Sequence[Element] = ()) -> list[str]:
    """Return the paragraphs of a text body; `styles` are list styles that it inherits, the nearest first."""
    own = child(body, "lstStyle")
    found = [*([] if own is None else [own]), *styles]
    counts = _Counts()
    texts = []
    for node in children(body):
        if local(node) == "p":
            text = paragraph(node)
            level = min(number(attribute(child(node, "pPr"), "lvl")), _LEVELS - 1)
            label = counts.label(_bullet(node, level, found), level) if text.strip() else ""
            texts.append(label + text)
    return texts


def paragraph(node: Element) -> str:
    """Return the text of one paragraph."""
    line = Line()
    _inline(node, line)
    return line.text()


def _inline(node: Element, line: Line) -> None:
    for each in children(node):
        name = local(each)
        if name in ("r", "fld"):
            properties = child(each, "rPr")
            text = child(each, "t")
            line.add(_shown(text.text or "" if text is not None else "", properties), _level(properties))
        elif name == "br":
            line.add("\n")
        elif name in ("oMath", "oMathPara"):
            line.add_equation(equation(each))
        elif name not in ("pPr", "endParaRPr"):
            _inline(each, line)


def _level(properties: Element | None) -> int:
    shift = attribute(properties, "baseline", "0").rstrip("%").partition(".")[0]
    return (number(shift) > 0) * RAISED or (number(shift) < 0) * LOWERED or LEVEL


def _shown(text: str, properties: Element | None) -> str:
    """Return text as its font shows it; the font for symbols is for characters of the private area alone."""
    font = attribute(child(properties, "latin"), "typeface")
    if not is_symbol_font(font) and any("\uf000" <= char <= "\uf0ff" for char in text):
        font = attribute(child(properties, "sym"), "typeface")
    return translate(text, font)[0] if is_symbol_font(font) else text


def _bullet(node: Element, level: int, styles: Sequence[Element]) -> Element | None:
    """Return the nearest element that says which bullet or number a paragraph has."""
    for properties in (child(node, "pPr"), *(child(style, f"lvl{level + 1}pPr") for style in styles)):
        for each in () if properties is None else children(properties):
            if local(each) in _BULLETS:
                return properties if local(each) == "buChar" else each
    return None


class _Counts:
    """Running numbers of the paragraphs of one body, by level."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[tuple[str, str], int]] = {}

    def label(self, bullet: Element | None, level: int) -> str:
        """Return what stands before the next paragraph."""
        self._counts = {key: count for key, count in self._counts.items() if key <= level}
        if bullet is None or local(bullet) != "buAutoNum":
            self._counts.pop(level, None)
            return _sign(bullet)
        scheme, start = attribute(bullet, "type", "arabicPeriod"), attribute(bullet, "startAt", "1")
        kind, count = self._counts.get(level, (("", ""), 0))
        count = count + 1 if kind == (scheme, start) else number(start, 1)
        self._counts[level] = ((scheme, start), count)
        return f"{_number(count, scheme)} "


def _sign(bullet: Element | None) -> str:
    if bullet is None or local(bullet) == "buNone":
        return ""
    if local(bullet) == "buBlip":
        return f"{_BULLET} "
    text, _ = translate(
        attribute(child(bullet, "buChar"), "char"), attribute(child(bullet, "buFont"), "typeface")
    )
    return f"{text.strip() or _BULLET} "


def _number(count: int, scheme: str) -> str:
    """Return a number by the names of PowerPoint, such as alphaLcParenBoth."""
    if scheme.startswith("circleNum"):
        return write_number(count, "decimalEnclosedCircle")
    ending = next((ending for ending in _AROUND if scheme.endswith(ending)), "Period")
    kind = scheme.removesuffix(ending)
    written = (
        roman(count)
        if kind.startswith("roman")
        else letters(count)
        if kind.startswith("alpha")
        else str(count)
    )
    before, after = _AROUND[ending]
    return before + (written.upper() if kind.endswith("Uc") else written) + after
