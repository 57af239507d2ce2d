"""The parts of an Office file, how they refer to each other, and what in them is not text."""

from __future__ import annotations

import posixpath
import urllib.parse
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tinsmith.corpus.readers.archive import local, parse_xml, read_member
from tinsmith.corpus.readers.base import Loss, Part, Unreadable, name_set

Element = ElementTree.Element
PartReader = Callable[
    [str, Callable[[], bytes]], Sequence[Part]
]  # from a part's name and its bytes, when asked for

# Extensions whose branch of an AlternateContent is read. Office shows it too; older programs show the fallback.
_UNDERSTOOD = name_set(
    "wps wpg wpc wpi wp14 w14 w15 w16 w16cex w16cid w16sdtdh a14 a16 p14 p15 p16 p188 c14 c15 c16 c16r2 c16r3 dgm14 "
    "am3d aink cx cx1 cx2 cx3 cx4 cx5 cx6 cx7 cx8 v o sl slr"
)
_ALTERNATIVES = "}AlternateContent"
_OFF = ("0", "false", "off", "none")


class Relation(NamedTuple):
    """Where a part refers to: the last word of the relation's type, and the part's name, "" if it is elsewhere."""

    kind: str
    target: str


class Package:
    """An Office file: parts by name, in any case, and a tally of what in them is not text."""

    def __init__(self, archive: zipfile.ZipFile, read_part: PartReader) -> None:
        """Keep the archive open; `read_part` reads a part that is a document of its own."""
        self._archive = archive
        self._names = {name.lower(): name for name in archive.namelist()}
        self._related: dict[str, dict[str, Relation]] = {}
        self._losses: dict[tuple[str, str, str], int] = {}
        self.read_part = read_part
        self.opened: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The names of all parts."""
        return sorted(self._names.values())

    def has(self, name: str) -> bool:
        """Return whether there is a part of this name."""
        return name.lower() in self._names

    def data(self, name: str) -> bytes:
        """Return the bytes of a part. Raises Unreadable if it is missing or damaged."""
        self.opened.add(name.lower())
        return read_member(self._archive, self._names.get(name.lower(), name))

    def parse(self, name: str) -> Element:
        """Return the root of a part. Raises Unreadable if it is missing or damaged."""
        return parse_xml(self.data(name))

    def main_part(self, default: str) -> str:
        """Return the part that the package names as its document, `default` if it names none."""
        for relation in self.relations("").values():
            if relation.kind == "officeDocument" and self.has(relation.target):
                return relation.target
        return default

    def relations(self, part: str) -> dict[str, Relation]:
        """Return the relations of a part by id; the package's own for the part ""."""
        if part not in self._related:
            folder, name = posixpath.split(part)
            path = posixpath.join(folder, "_rels", f"{name}.rels")
            nodes = self.parse(path) if self.has(path) else ()
            self._related[part] = {
                node.get("Id", ""): Relation(node.get("Type", "").rpartition("/")[2], _target(folder, node))
                for node in nodes
            }
        return self._related[part]

    def related(self, part: str, kind: str) -> list[str]:
        """Return the parts that are there to which a part refers by a kind of relation."""
        found = (relation for relation in self.relations(part).values() if relation.kind == kind)
        return [relation.target for relation in found if self.has(relation.target)]

    def find(self, part: str, identity: str) -> str:
        """Return the part to which an id refers, "" if it is not there."""
        relation = self.relations(part).get(identity)
        return relation.target if relation and self.has(relation.target) else ""

    def read_shown(
        self, part: str, identity: str, what: str, read: Callable[[Package, str], list[str]]
    ) -> list[str]:
        """Return the blocks of another part that a part shows; one that is missing or damaged is counted."""
        target = self.find(part, identity)
        if not target:
            self.lose(part, "not_read", f"{what} that are elsewhere")
            return []
        self.opened.add(target.lower())
        try:
            return read(self, target)
        except Unreadable as refusal:
            self.lose(target, refusal.reason, refusal.detail)
            return []

    def lose_object(self, part: str, identity: str, what: str) -> None:
        """Count an object that a part shows and that is not read."""
        target = self.find(part, identity)
        self.opened.add(target.lower())
        self.lose(target or part, "not_read", what)

    def lose(self, part: str, reason: str, detail: str = "", count: int = 1) -> None:
        """Count something of a part that is not text."""
        if count:
            key = (part, reason, detail)
            self._losses[key] = self._losses.get(key, 0) + count

    def losses(self) -> list[Loss]:
        """Return what is not text, one row for each part, reason and detail."""
        return [Loss(*key, count) for key, count in self._losses.items()]


def _target(folder: str, node: Element) -> str:
    if node.get("TargetMode") == "External":
        return ""
    target = urllib.parse.unquote(node.get("Target", "").partition("#")[0])
    return (
        target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
    )


def children(node: Element) -> Iterator[Element]:
    """Yield the children of an element, of alternatives the one that Office shows."""
    for each in node:
        if each.tag.endswith(_ALTERNATIVES):
            yield from _shown(each)
        else:
            yield each


def _shown(alternatives: Element) -> Iterator[Element]:
    """Yield the content of the first branch that is understood, else of the fallback, else of the first branch."""
    branches = list(alternatives)
    known = (branch for branch in branches if _UNDERSTOOD.issuperset(branch.get("Requires", "?").split()))
    fallback = (branch for branch in branches if local(branch) == "Fallback")
    chosen = next(known, None)
    if chosen is None:
        chosen = next(fallback, branches[0] if branches else None)
    return iter(()) if chosen is None else children(chosen)


def descendants(node: Element) -> Iterator[Element]:
    """Yield all elements below an element, of alternatives the one that Office shows."""
    for each in children(node):
        yield each
        yield from descendants(each)


def child(node: Element | None, *path: str) -> Element | None:
    """Return the first descendant along a path of local names, or None."""
    for name in path:
        if node is None:
            return None
        node = _named(node, name)
    return node


def _named(node: Element, name: str) -> Element | None:
    suffix = "}" + name
    for each in node:
        if each.tag.endswith(suffix) or each.tag == name:
            return each
        if each.tag.endswith(_ALTERNATIVES):
            for shown in _shown(each):
                if local(shown) == name:
                    return shown
    return None


def by_name(node: Element | None) -> dict[str, Element]:
    """Return the children of an element by their local names."""
    return {} if node is None else {local(each): each for each in children(node)}


def attribute(node: Element | None, name: str, default: str = "") -> str:
    """Return an attribute by its local name."""
    if node is not None:
        for key, value in node.attrib.items():
            if key == name or key.endswith("}" + name):
                return value
    return default


def is_set(node: Element | None, name: str, default: str = "0") -> bool:
    """Return whether an attribute is switched on."""
    return attribute(node, name, default) in ("1", "true", "on")


def value(node: Element | None, default: str = "") -> str:
    """Return the attribute `val` of an element, `default` if there is none."""
    return attribute(node, "val", default)


def is_on(node: Element | None) -> bool:
    """Return whether a property is there and not switched off."""
    return node is not None and value(node, "true").lower() not in _OFF


def number(text: str, default: int = 0) -> int:
    """Return a whole number as XML writes it, `default` for anything else."""
    try:
        return int(text)
    except ValueError:
        return default
