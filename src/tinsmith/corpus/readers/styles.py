"""Decide from HTML's attributes and style sheets whether an element is shown, and how its text flows."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from tinsmith.corpus.readers.css import (
    CLEAR,
    Colour,
    Declarations,
    are_alike,
    colour,
    length,
    parse_declarations,
    parse_sheet,
)

_EXACT = ("pre", "pre-wrap", "pre-line", "break-spaces")
_FAR = 500.0  # pixels beyond an edge of the window, where nothing is seen
_CORNER_CLIPS = ("rect(0", "rect(1px", "inset(50%", "inset(100%", "circle(0", "polygon(0 0, 0 0")
_UNREADABLE = 1.0  # pixels


class Look(NamedTuple):
    """What an element's text has from the elements around it."""

    visible: bool = True
    size: float = 16.0
    ink: Colour | str | None = (0, 0, 0)
    ground: Colour | str | None = (255, 255, 255)
    exact: bool = False  # white space is kept
    spread: bool = False  # the children of a flex or grid container are apart
    marker: str = ""  # of list items

    @property
    def hidden_by(self) -> str:
        """Return why text of this look is not seen; the empty string if it is."""
        if not self.visible:
            return "visibility"
        if self.size <= _UNREADABLE:
            return "font-size"
        return "color" if self.ink == CLEAR or are_alike(self.ink, self.ground) else ""


class Style(NamedTuple):
    """How an element is shown: why it and all in it is not, its look, its display, and 1 if raised, -1 if lowered."""

    hidden_by: str
    look: Look
    display: str = ""
    shift: int = 0


class Styles:
    """The styles of a page: its sheets and its attributes."""

    def __init__(self, tree: Any) -> None:
        self._ordinary: dict[int, Declarations] = {}
        self._important: dict[int, Declarations] = {}
        sheets = [
            node.text() for node in tree.css("style") if _is_for_screen(node.attributes.get("media") or "")
        ]
        text = "\n".join(sheets)
        # What a sheet elsewhere puts behind the text is not known.
        linked = "@import" in text or tree.css_first("link[rel~=stylesheet]") is not None
        self.root = Look(ground=None) if linked else Look()
        for rule in parse_sheet(text) if text else ():
            for identity in _matching(tree, rule.selector):
                self._ordinary.setdefault(identity, {}).update(rule.ordinary)
                self._important.setdefault(identity, {}).update(rule.important)

    def of(self, node: Any, attributes: dict[str, str | None], look: Look) -> Style:
        """Return the style of an element within a look."""
        hints = _hints(attributes) if attributes else {}
        inline, strong = parse_declarations(attributes.get("style") or "") if attributes else ({}, {})
        declared = inline
        if hints or strong or self._ordinary:
            identity = node.mem_id
            sheet, pressing = self._ordinary.get(identity, {}), self._important.get(identity, {})
            declared = {**hints, **sheet, **inline, **pressing, **strong}
        if not declared:
            return Style("", look._replace(spread=False) if look.spread else look)
        return _apply(tuple(declared.items()), look)


def _is_for_screen(media: str) -> bool:
    return not media.strip() or "screen" in media or "all" in media


def _matching(tree: Any, selector: str) -> list[int]:
    from selectolax.lexbor import SelectolaxError

    try:
        return [node.mem_id for node in tree.css(selector)]
    except SelectolaxError:  # a selector of a later standard; browsers skip what they do not know, too
        return []


def _hints(attributes: dict[str, str | None]) -> Declarations:
    """Return what attributes other than style say."""
    hints = {}
    if "hidden" in attributes:
        hints["display"] = "none"
    if ground := attributes.get("bgcolor"):
        hints["background-color"] = ground.lower()
    if attributes.get("background"):
        hints["background-image"] = "url"
    if (
        ink := attributes.get("color")
        or attributes.get("text")
        or ("#0000ee" if "href" in attributes else "")
    ):
        hints["color"] = ink.lower()
    return hints


@lru_cache(maxsize=4096)
def _apply(items: tuple[tuple[str, str], ...], look: Look) -> Style:
    declared = dict(items)
    display = declared.get("display", "")
    size = _font_size(declared, look.size)
    inner = Look(
        visible=_is_visible(declared.get("visibility"), look.visible),
        size=size,
        ink=_ink(declared, look.ink),
        ground=_ground(declared, look.ground),
        exact=declared["white-space"] in _EXACT if "white-space" in declared else look.exact,
        spread="flex" in display or "grid" in display,
        marker=declared.get("list-style-type") or declared.get("list-style") or look.marker,
    )
    return Style(_hiding(declared, size), inner, display, _shift(declared))


def _is_visible(value: str | None, inherited: bool) -> bool:
    return inherited if value in (None, "inherit", "unset") else value == "visible" or value == "initial"


def _font_size(declared: Declarations, inherited: float) -> float:
    value = declared.get("font-size") or declared.get("font", "")
    size = length(value.partition("/")[0], inherited) if value else None
    if size is None:
        return 16.0 if "font-size" in declared and value not in ("inherit", "unset") else inherited
    return size


def _ink(declared: Declarations, inherited: Colour | str | None) -> Colour | str | None:
    value = declared.get("color", "inherit")
    if "text" in (declared.get("background-clip"), declared.get("-webkit-background-clip")):
        return None  # the letters show what is behind them
    return inherited if value in ("inherit", "unset", "currentcolor") else colour(value)


def _ground(declared: Declarations, inherited: Colour | str | None) -> Colour | str | None:
    image = declared.get("background-image", "none")
    value = declared.get("background-color") or declared.get("background")
    if image != "none" or (value and ("url(" in value or "gradient" in value)):
        return None
    if value is None or value in ("none", "inherit", "initial", "unset"):
        return inherited
    found = next((named for part in (value, *value.split()) if (named := colour(part))), None)
    return inherited if found == CLEAR else found


def _hiding(declared: Declarations, em: float) -> str:
    """Return the property by which an element and all in it is not shown; the empty string if none does."""
    if declared.get("display") == "none":
        return "display"
    if length(declared.get("opacity", "1")) == 0:
        return "opacity"
    if declared.get("content-visibility") == "hidden":
        return "content-visibility"
    position = declared.get("position", "static")
    for side in ("left", "top", "right", "bottom") if position != "static" else ():
        distance = length(declared.get(side, ""), em)
        if distance is not None and (distance <= -_FAR or distance >= 10 * _FAR):
            return "position"
    # A negative margin of half the width centres a page.
    for name, far in (("text-indent", _FAR), ("transform", _FAR), ("margin-left", 4 * _FAR)):
        distance = length(declared.get(name, ""), em)
        if distance is not None and distance <= -far:
            return "position"
    if "scale(0)" in declared.get("transform", ""):
        return "transform"
    clip = declared.get("clip-path") or (
        declared.get("clip", "") if position in ("absolute", "fixed") else ""
    )
    if clip.startswith(_CORNER_CLIPS):
        return "clip"
    sizes = [
        length(declared[name], em)
        for name in ("width", "height", "max-width", "max-height")
        if name in declared
    ]
    cut = declared.get("overflow", "").startswith(("hidden", "clip"))
    return "overflow" if cut and any(size is not None and size <= _UNREADABLE for size in sizes) else ""


def _shift(declared: Declarations) -> int:
    value = declared.get("vertical-align", "")
    if value in ("super", "sub"):
        return 1 if value == "super" else -1
    distance = length(value) or 0.0
    if not distance and declared.get("position") == "relative":
        distance = -(length(declared.get("top", "")) or 0.0) or (length(declared.get("bottom", "")) or 0.0)
    return (distance > 0) - (distance < 0)
