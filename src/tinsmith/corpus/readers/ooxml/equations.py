"""Equations of Office (OMML) in linear form, close to what Office itself writes on one line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from tinsmith.corpus.readers.archive import local
from tinsmith.corpus.readers.base import name_set
from tinsmith.corpus.readers.ooxml.package import Element, child, children, is_on, value

_SKIPPED = name_set("ctrlPr rPr argPr del moveFrom")
_OPERAND = re.compile(r"√?(?:\d+(?:[.,]\d+)*%?|[^\W\d_]+′*)|[|∥][^|∥]+[|∥]")
_SCRIPT = re.compile(r"[+\-−±](?:\d+(?:\.\d+)?|[^\W\d_])|[*∗†′]+")
_ROOTS = {"2": "√", "3": "∛", "4": "∜"}
_OVERLINE, _UNDERLINE, _CIRCUMFLEX = "\u0305", "\u0332", "\u0302"
_UNSEEN = dict.fromkeys((0x2061, 0x2062, 0x2063, 0x2064, 0x200B))  # operators without a sign


def equation(node: Element) -> str:
    """Return an equation as text, such as `1/2`, `√16`, `x^2` and `∑_(i=1)^n x_i`."""
    return _write(node, local(node)).strip()


def _linear(node: Element) -> str:
    """Return the parts of an element one after the other."""
    written, last = "", ""
    for each in children(node):
        name = local(each)
        text = _write(each, name)
        if text:
            written += (" " if _separate(written, last, text, name) else "") + text
            last = name
    return written


def _separate(written: str, last: str, text: str, name: str) -> bool:
    """Return whether a space must separate two parts, for instance 3 and 1/2, which is not 31/2."""
    if not (written[-1:].isalnum() and text[:1].isalnum()) or (last, name) == ("r", "r"):
        return False
    figures = written[-1:].isdigit() and text[:1].isdigit()
    return figures or last in _WRITERS or name in ("f", "func")


def _write(node: Element, name: str) -> str:
    if name == "t":
        return _plain(node.text or "")
    if name == "br":
        return "\n"
    if name in _SKIPPED or name.endswith("Pr"):
        return ""
    writer = _WRITERS.get(name)
    return writer(node) if writer else _linear(node)


def _plain(text: str) -> str:
    """Return text with letters that are italic or bold by their code as plain ones."""
    text = text.translate(_UNSEEN)
    if text.isascii():
        return text
    return "".join(
        unicodedata.normalize("NFKC", char) if "\U0001d400" <= char < "\U0001d800" else char for char in text
    )


def operand(text: str) -> str:
    """Return a part as one operand, in parentheses if it has several parts."""
    return text if not text or _OPERAND.fullmatch(text) or _is_group(text) else f"({text})"


def _script(text: str) -> str:
    return text if _SCRIPT.fullmatch(text) else operand(text)


def _is_group(text: str) -> bool:
    """Return whether one pair of parentheses holds the whole text."""
    depth = 0
    for position, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if depth == 0:
            return position == len(text) - 1 and position > 0
    return False


def _part(node: Element, name: str) -> str:
    found = child(node, name)
    return "" if found is None else _linear(found)


def _property(node: Element, name: str, default: str = "") -> str:
    """Return the value of an element's property; a property that is there without a value is empty."""
    found = child(node, f"{local(node)}Pr", name)
    return default if found is None else value(found)


def _has(node: Element, name: str) -> bool:
    return is_on(child(node, f"{local(node)}Pr", name))


def _fraction(node: Element) -> str:
    above, below = _part(node, "num"), _part(node, "den")
    # Without a bar it is a binomial coefficient or a stack of two lines.
    return f"{operand(above)}{'¦' if _property(node, 'type') == 'noBar' else '/'}{operand(below)}"


def _root(node: Element) -> str:
    return root("" if _has(node, "degHide") else _part(node, "deg").strip(), _part(node, "e"))


def root(degree: str, radicand: str) -> str:
    """Return a root of some degree, "" for a square root."""
    if (degree or "2") in _ROOTS:
        return _ROOTS[degree or "2"] + operand(radicand)
    return f"{operand(radicand)}^(1/{operand(degree)})"


def _scripts(node: Element) -> str:
    base = _part(node, "e")
    base = base if local(node) == "sSub" and base.isalnum() else operand(base)
    return base + _limits(_part(node, "sub"), _part(node, "sup"))


def _limits(sub: str, sup: str) -> str:
    return (f"_{_script(sub)}" if sub else "") + (f"^{_script(sup)}" if sup else "")


def _prescripts(node: Element) -> str:
    return f"{_limits(_part(node, 'sub'), _part(node, 'sup'))} {_part(node, 'e')}"


def _nary(node: Element) -> str:
    sub = "" if _has(node, "subHide") else _part(node, "sub")
    sup = "" if _has(node, "supHide") else _part(node, "sup")
    return f"{_property(node, 'chr', '∫')}{_limits(sub, sup)} {_part(node, 'e')}".rstrip()


def _delimited(node: Element) -> str:
    between = _property(node, "sepChr", "|")
    parts = [_linear(each) for each in children(node) if local(each) == "e"]
    return _property(node, "begChr", "(") + between.join(parts) + _property(node, "endChr", ")")


def _function(node: Element) -> str:
    name, argument = _part(node, "fName"), _part(node, "e")
    return name + (argument if argument.startswith(("(", "[", "{")) else f" {argument}")


def _lower_limit(node: Element) -> str:
    return f"{_part(node, 'e')}_{_script(_part(node, 'lim'))}"


def _upper_limit(node: Element) -> str:
    return f"{_part(node, 'e')}^{_script(_part(node, 'lim'))}"


def _accent(node: Element) -> str:
    return unicodedata.normalize("NFC", operand(_part(node, "e")) + _property(node, "chr", _CIRCUMFLEX))


def _bar(node: Element) -> str:
    mark = _OVERLINE if _property(node, "pos") == "top" else _UNDERLINE
    return operand(_part(node, "e")) + mark


def _matrix(node: Element) -> str:
    rows = [row for row in children(node) if local(row) == "mr"]
    cells = ([_linear(cell) for cell in children(row) if local(cell) == "e"] for row in rows)
    return "; ".join(", ".join(row) for row in cells)


def _lines(node: Element) -> str:
    """Return equations below each other as lines; & marks where they are aligned."""
    return "\n".join(_linear(line).replace("&", "") for line in children(node) if local(line) == "e")


def _phantom(node: Element) -> str:
    shown = child(node, "phantPr", "show")
    return _linear(node) if shown is None or is_on(shown) else " "


def _paragraph(node: Element) -> str:
    return "\n".join(_linear(each) for each in children(node) if local(each) == "oMath")


_WRITERS: dict[str, Callable[[Element], str]] = {
    "acc": _accent,
    "bar": _bar,
    "d": _delimited,
    "eqArr": _lines,
    "f": _fraction,
    "func": _function,
    "limLow": _lower_limit,
    "limUpp": _upper_limit,
    "m": _matrix,
    "nary": _nary,
    "oMathPara": _paragraph,
    "phant": _phantom,
    "rad": _root,
    "sPre": _prescripts,
    "sSub": _scripts,
    "sSubSup": _scripts,
    "sSup": _scripts,
}
