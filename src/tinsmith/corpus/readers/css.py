"""Parse as much CSS as decides whether text is shown, and how it flows: declarations, rules and colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from tinsmith.corpus.readers.base import name_set

Declarations = dict[str, str]
Colour = tuple[int, int, int]
CLEAR = (-1, -1, -1)  # transparent

_PROPERTIES = name_set(
    "display visibility opacity font font-size color background background-color background-image background-clip "
    "-webkit-background-clip position left top "
    "right bottom text-indent margin-left clip clip-path width height max-width max-height overflow transform "
    "white-space vertical-align flex-direction list-style list-style-type content-visibility"
)
_COMMENT = re.compile(r"/\*.*?\*/|<!--|-->", re.DOTALL)
_IMPORTANT = re.compile(r"\s*!\s*important\s*$")
_LENGTH = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))(px|pt|pc|em|rem|ex|ch|vw|vh|in|cm|mm|%)?(?![\w.])")
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 37.8, "mm": 3.78, "rem": 16.0}
_PIXELS |= {"vw": 12.8, "vh": 7.2}  # of a window of 1280 by 720 pixels
_BLOCK = re.compile(r"[{};]")
_NESTED = re.compile(r"[^;{}]*\{.*\}", re.DOTALL)
_AT_RULE = re.compile(r"@([\w-]+)\s*([^;{]*)")
_DYNAMIC = re.compile(r":(?:hover|focus(?:-within|-visible)?|active|target|checked|open)(?![\w-])")
_STATIC = re.compile(
    r"(?<!\\):(?:not|is|where|root|empty|(?:first|last|only|nth|nth-last)-(?:child|of-type))(?![\w-])"
)
_IDS, _CLASSES, _TAGS = (
    re.compile(r"#[\w-]+"),
    re.compile(r"\.[\w-]+|\[[^\]]*\]|:[\w-]+"),
    re.compile(r"(?<![\w.#:-])[a-zA-Z][\w-]*"),
)
_NAMED = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "snow": (255, 250, 250),
    "ivory": (255, 255, 240),
    "whitesmoke": (245, 245, 245),
    "ghostwhite": (248, 248, 255),
    "transparent": CLEAR,
}
_NUMBERS = re.compile(r"[\d.]+%?")
_HIDING = {"display": ("none",), "visibility": ("hidden", "collapse"), "content-visibility": ("hidden",)}


class Rule(NamedTuple):
    """A selector without states of the mouse, and what it declares; ordinary and `!important`."""

    selector: str
    specificity: tuple[int, int, int]
    ordinary: Declarations
    important: Declarations


@lru_cache(maxsize=4096)
def parse_declarations(text: str) -> tuple[Declarations, Declarations]:
    """Return the declarations of a style attribute or rule that matter here: ordinary and important ones."""
    ordinary: Declarations = {}
    important: Declarations = {}
    for part in _COMMENT.sub("", text).split(";"):
        name, colon, value = part.partition(":")
        name, value = name.strip().lower(), value.strip().lower()
        if colon and value and name in _PROPERTIES:
            plain = _IMPORTANT.sub("", value)
            (ordinary if plain == value else important)[name] = plain
    return ordinary, important


def parse_sheet(text: str) -> list[Rule]:
    """Return the rules of a style sheet that apply on a screen, by rising specificity.

    A rule for a state, such as `:hover`, or for some sizes of window counts only where it shows something: what a
    reader can bring up is not hidden.
    """
    rules = list(_rules(_COMMENT.sub("", text), sometimes=False))
    return sorted(rules, key=lambda rule: rule.specificity)


def _rules(text: str, *, sometimes: bool) -> Iterator[Rule]:
    for head, body in _blocks(text):
        if head.startswith("@"):
            at = _AT_RULE.match(head)
            name, condition = (at[1].lower(), at[2].strip().lower()) if at else ("", "")
            if name in ("supports", "layer", "container", "scope"):
                yield from _rules(body, sometimes=sometimes or name == "container")
            elif name == "media" and not re.match(r"(?:only\s+)?print|not\s", condition):
                everywhere = condition in ("all", "screen", "only screen")
                yield from _rules(body, sometimes=sometimes or not everywhere)
            continue
        ordinary, important = parse_declarations(_NESTED.sub("", body) if "{" in body else body)
        if ordinary or important:
            for selector in _split_list(head):
                plain = _DYNAMIC.sub("", selector)
                if ":" in _STATIC.sub("", plain):
                    continue
                some = sometimes or plain != selector
                kept = (_showing(ordinary), _showing(important)) if some else (ordinary, important)
                if any(kept):
                    yield Rule(plain or "*", _specificity(selector), *kept)


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the head and the body of each outermost block."""
    depth = start = 0
    head = ""
    for mark in _BLOCK.finditer(text):
        if mark[0] == "{":
            if not depth:
                head, start = text[start : mark.start()].strip(), mark.end()
            depth += 1
        elif mark[0] == "}":
            depth = max(depth - 1, 0)
            if not depth:
                if head:
                    yield head, text[start : mark.start()]
                head, start = "", mark.end()
        elif not depth:
            start = mark.end()


def _split_list(selectors: str) -> list[str]:
    """Return the selectors of a list, split at commas outside brackets."""
    parts = re.split(r",(?![^(\[]*[)\]])", selectors)
    return [part.strip() for part in parts if part.strip()]


def _showing(declarations: Declarations) -> Declarations:
    return {
        name: value
        for name, value in declarations.items()
        if name in ("opacity", *_HIDING) and value not in _HIDING.get(name, ("0",))
    }


def _specificity(selector: str) -> tuple[int, int, int]:
    return (
        len(_IDS.findall(selector)),
        len(_CLASSES.findall(selector)),
        len(_TAGS.findall(_CLASSES.sub(" ", _IDS.sub(" ", selector)))),
    )


def length(value: str, em: float = 16.0) -> float | None:
    """Return the first length of a value in CSS pixels, a percentage or em in terms of `em`; None without any."""
    found = _LENGTH.search(value)
    if not found:
        return None
    number, unit = float(found[1]), found[2] or ""
    if unit in ("em", "ex", "ch", "%"):
        return number * em * {"em": 1.0, "%": 0.01}.get(unit, 0.5)
    return number * _PIXELS[unit]


@lru_cache(maxsize=1024)
def colour(value: str) -> Colour | str | None:
    """Return a colour as red, green, blue, CLEAR if transparent, a name that is not known here, or None."""
    value = value.strip().lower()
    if value in _NAMED:
        return _NAMED[value]
    if value.startswith("#"):
        digits = value[1:]
        digits = "".join(2 * digit for digit in digits) if len(digits) in (3, 4) else digits
        try:
            red, green, blue, *alpha = bytes.fromhex(digits)
        except ValueError:
            return None
        return CLEAR if alpha == [0] else (red, green, blue)
    if value.startswith("rgb"):
        numbers = [float(n.rstrip("%")) * (2.55 if n.endswith("%") else 1) for n in _NUMBERS.findall(value)]
        if len(numbers) < 3 or "var(" in value:
            return None
        return CLEAR if len(numbers) > 3 and not numbers[3] else (*map(round, numbers[:3]),)  # type: ignore[return-value]
    return value if value.isalpha() and value not in ("inherit", "initial", "unset", "currentcolor") else None


def are_alike(one: Colour | str | None, two: Colour | str | None) -> bool:
    """Return whether two colours cannot be told apart by eye; False if one is not known."""
    if isinstance(one, tuple) and isinstance(two, tuple):
        return max(abs(a - b) for a, b in zip(one, two, strict=True)) <= _SAME_COLOUR
    return one is not None and one == two


_SAME_COLOUR = 8  # of 255
