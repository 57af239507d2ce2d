"""What the parts of a Word document share: styles, lists, the marks of notes, sections."""

from __future__ import annotations

from collections.abc import Callable

from tinsmith.corpus.readers.ooxml.numbering import Counters, Numbering
from tinsmith.corpus.readers.ooxml.package import Element, Package
from tinsmith.corpus.readers.ooxml.styles import Styles


class Notes:
    """The marks of footnotes and endnotes, in the order in which the body refers to them."""

    def __init__(self, write: dict[str, Callable[[int], str]]) -> None:
        """Take how numbers of each kind are written, by their place from zero."""
        self._write = write
        self._marks: dict[tuple[str, str], str] = {}
        self._numbered = dict.fromkeys(write, 0)
        self.hidden: set[tuple[str, str]] = set()

    def refer(self, kind: str, identity: str, *, custom: bool) -> str:
        """Return the mark of a reference; a mark of the author's own is text of the document."""
        if custom:
            self._marks[kind, identity] = ""
        elif (kind, identity) not in self._marks:
            self._marks[kind, identity] = f"[{self._write[kind](self._numbered[kind])}]"
            self._numbered[kind] += 1
        return self._marks[kind, identity]

    def order(self, kind: str) -> list[str]:
        """Return the ids of the notes of a kind that the body refers to."""
        return [identity for each, identity in self._marks if each == kind]

    def mark(self, kind: str, identity: str) -> str:
        """Return the mark of a note, "" for a note without."""
        return self._marks.get((kind, identity), "")


class Context:
    """What all stories of a document share."""

    def __init__(self, package: Package, styles: Styles, numbering: Numbering, notes: Notes) -> None:
        self.package, self.styles, self.numbering, self.notes = package, styles, numbering, notes
        self.boxes = Counters(numbering)  # text boxes are one story
        self.sections: list[Element] = []
        self.on_white = True  # whether the pages are white
