"""Read Rich Text Format: text of any font's character set, tables and notes; hidden text and comments as losses."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass, field, replace

from tinsmith.corpus.readers.base import Loss, Part, Piece, Unreadable, join_blocks, name_set
from tinsmith.corpus.readers.raised import LEVEL, LOWERED, RAISED, write_raised

_TOKEN = re.compile(
    rb"\\(?P<word>[a-zA-Z]+)(?P<number>-?\d{1,9})? ?|\\'(?P<byte>[0-9a-fA-F]{2})|\\(?P<symbol>[^a-zA-Z])"
    rb"|(?P<brace>[{}])|[\r\n\0]+|(?P<text>[^\\{}\r\n\0]+)",
    re.DOTALL,
)
# Groups that hold no text of the page; headers and footers repeat.
_SKIPPED = name_set(
    "colortbl stylesheet info pict header headerl headerr headerf footer footerl footerr footerf fldinst sp "
    "shprslt nonshppict atnid atnauthor atntime atndate atnref atnparent bkmkstart bkmkend listtable "
    "listoverridetable revtbl rsidtbl xe tc txe rxe template datafield"
)
# Groups that are read although they are marked as ones that a reader may not know.
_KNOWN = name_set("shpinst shptxt ud footnote annotation moMath moMathPara nesttableprops fldrslt")
_APART = ("footnote", "shptxt")  # notes and text boxes
_CHARACTERS = {
    "tab": "\t",
    "line": "\n",
    "lbr": "\n",
    "softline": "\n",
    "emdash": "—",
    "endash": "–",
    "lquote": "‘",
    "rquote": "’",
    "ldblquote": "“",
    "rdblquote": "”",
    "bullet": "•",
    "emspace": " ",
    "enspace": " ",
    "qmspace": " ",
    "zwj": "\u200d",
    "zwnj": "\u200c",
    "mden": "/",
    "msup": "^",
}
_SYMBOLS = {b"~": "\xa0", b"_": "-", b"\\": "\\", b"{": "{", b"}": "}", b"\t": "\t"}
_ENDS = name_set("par sect page column")
_SYMBOL_SET = "symbol"
_BULLET = "·"  # in the font Symbol
_PRIVATE = range(0xF000, 0xF100)  # where Unicode has the characters of such fonts
# Character sets of fonts, as Windows numbers them.
_CHARSETS = {
    0: "cp1252",
    2: _SYMBOL_SET,
    77: "mac_roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gbk",
    136: "cp950",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    255: "cp850",
}
_SETS = {"ansi": "cp1252", "mac": "mac_roman", "pc": "cp437", "pca": "cp850"}

_SHIFTS = {"super": RAISED, "up": RAISED, "sub": LOWERED, "dn": LOWERED, "nosupersub": ""}


@dataclass(frozen=True)
class _State:
    """What holds within a group and ends with it."""

    font: int = -1
    replaces: int = 1  # characters after a Unicode one, for readers that do not know it
    skips: bool = False
    fonts: bool = False  # within the table of fonts
    old_text: bool = False  # within text that is followed by the same in Unicode
    hides: bool = False
    deleted: bool = False
    shift: str = ""  # the mark of raised or lowered text
    in_table: bool = False
    flow: int = 0  # 0 is the page, others are notes and boxes


@dataclass
class _Flow:
    """Text of the page, or of a note: finished blocks, the rows and cells of a table, and the current paragraph."""

    blocks: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def take(self) -> str:
        """Return the current paragraph and begin the next; halves of a character become one."""
        text = "".join(self.parts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self.parts.clear()
        return write_raised(text)

    def end_paragraph(self, in_table: bool) -> None:
        """End a paragraph; within a cell it is a part of the cell."""
        if in_table:
            self.parts.append(" ")
            return
        self.end_table()
        self.blocks.append(self.take())

    def end_cell(self) -> None:
        """End a cell of the current row."""
        self.cells.append(" ".join(self.take().split()))

    def end_row(self) -> None:
        """End the current row."""
        self.rows.append("\t".join(self.cells).rstrip())
        self.cells.clear()

    def end_table(self) -> None:
        """End the table, if there is one."""
        if self.cells:
            self.end_row()
        if self.rows:
            self.blocks.append("\n".join(self.rows))
            self.rows.clear()

    def text(self) -> str:
        """Return all of it as text."""
        self.end_paragraph(False)
        return join_blocks(self.blocks)


def read_rtf(data: bytes) -> list[Part]:
    """Return the text of a document, notes and boxes behind it; hidden or deleted text, comments and symbols as losses.

    Raises Unreadable: damaged, for text that does not begin as RTF does.
    """
    start = data.find(b"{\\rtf")
    if start < 0:
        raise Unreadable("damaged", "does not begin with {\\rtf")
    reader = _Reader()
    reader.read(data, start)
    lost = (
        Loss("document", reason, detail, count) for (reason, detail), count in sorted(reader.lost.items())
    )
    return [Piece(join_blocks(flow.text() for flow in reader.flows)), *lost]


class _Reader:
    def __init__(self) -> None:
        self.state = _State()
        self.stack: list[_State] = []
        self.flows = [_Flow()]
        self.lost: Counter[tuple[str, str]] = Counter()  # (reason, detail) -> count
        self.encodings: dict[int, str] = {}
        self.default_encoding, self.default_font = "cp1252", -1
        self.pending = bytearray()  # text whose characters may have several bytes
        self.replaced = 0  # characters yet to be skipped
        self.was_hidden = ""

    @property
    def flow(self) -> _Flow:
        """The page, or the note or box that is being read."""
        return self.flows[self.state.flow]

    def read(self, data: bytes, position: int) -> None:
        """Read all groups of a document; one that is cut off ends with the data."""
        optional = False
        while token := _TOKEN.match(data, position):
            position = token.end()
            if token["word"]:
                word, number = token["word"].decode("ascii"), int(token["number"] or -1)
                if word == "bin":
                    position += max(number, 0)
                elif optional and word not in _KNOWN:
                    self._change(skips=True)
                else:
                    self._word(word, number, given=token["number"] is not None)
            elif token["brace"]:
                self._brace(token["brace"] == b"{")
            elif token["symbol"] == b"*":
                optional = True
                continue
            elif token["symbol"]:
                self._symbol(token["symbol"])
            else:
                self._bytes(bytes.fromhex(token["byte"].decode()) if token["byte"] else token["text"] or b"")
            optional = False
        self._flush()

    def _change(self, **changes: object) -> None:
        self._flush()
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def _brace(self, opens: bool) -> None:
        self._flush()
        self.replaced = 0
        if opens:
            self.stack.append(self.state)
            self._change(skips=self.state.skips or self.state.old_text)
        elif self.stack:
            self.state = self.stack.pop()

    def _symbol(self, symbol: bytes) -> None:
        if self.replaced:
            self.replaced -= 1
        elif symbol in (b"\r", b"\n"):
            self._end("par")
        else:
            self._append(_SYMBOLS.get(symbol, ""))

    def _bytes(self, text: bytes) -> None:
        skipped = min(self.replaced, len(text))
        self.replaced -= skipped
        if not self.state.skips:
            self.pending += text[skipped:]

    def _word(self, word: str, number: int, *, given: bool) -> None:
        if self.replaced and word != "u":
            self.replaced -= 1
            return
        on = number != 0
        if self.state.fonts and word in ("f", "fcharset", "cpg"):
            self._font(word, number)
        elif word in _SKIPPED:
            self._change(skips=True)
        elif word == "fonttbl":
            self._change(skips=True, fonts=True)
        elif word == "upr":
            self._change(old_text=True)
        elif word == "ud":
            # As the group around both forms is, which may be the document's title or author.
            self._change(skips=bool(self.stack) and self.stack[-1].skips, old_text=False)
        elif word in _APART and not self.state.skips:
            self.flows.append(_Flow())
            self._change(flow=len(self.flows) - 1, in_table=False)
        elif word == "annotation":
            self.lost["not_read", "comments"] += not self.state.skips
            self._change(skips=True)
        elif word == "u":
            self._unicode(number)
        elif word == "uc":
            self._change(replaces=max(number, 0))
        elif word in _CHARACTERS:
            self._append(_CHARACTERS[word])
        elif word in _ENDS or word in ("cell", "nestcell", "row", "nestrow"):
            self._end(word)
        elif word == "f":
            self._change(font=number)
        elif word == "plain":
            self._change(font=self.default_font, hides=False, deleted=False, shift="")
        elif word == "v":
            self._change(hides=on)
        elif word == "deleted":
            self._change(deleted=on)
        elif word in _SHIFTS:
            self._change(shift=_SHIFTS[word] if on else "")
        elif word in ("pard", "intbl"):
            self._change(in_table=word == "intbl")
        elif word == "object":
            self.lost["not_read", "embedded objects"] += not self.state.skips
        elif word in _SETS or (word == "ansicpg" and given):
            self.default_encoding = _SETS.get(word) or _codec(number) or self.default_encoding
        elif word == "deff":
            self.default_font = number
            self._change(font=number)

    def _font(self, word: str, number: int) -> None:
        if word == "f":
            self._change(font=number)
        elif word == "cpg" and (codec := _codec(number)):
            self.encodings[self.state.font] = codec
        elif word == "fcharset" and number in _CHARSETS:
            self.encodings.setdefault(self.state.font, _CHARSETS[number])

    def _end(self, word: str) -> None:
        self._flush()
        if self.state.skips or self.state.hides or self.state.deleted:
            return
        flow = self.flow
        if word in ("cell", "nestcell"):
            flow.end_cell()
        elif word in ("row", "nestrow"):
            flow.end_row()
        else:
            flow.end_paragraph(self.state.in_table)

    def _unicode(self, number: int) -> None:
        if not self.state.skips:
            code = number % 0x10000
            self._append(self._known_symbol(chr(code & 0xFF)) if code in _PRIVATE else chr(code))
        self.replaced = self.state.replaces

    def _known_symbol(self, char: str) -> str:
        if char == _BULLET:
            return "•"
        self.lost["not_read", "symbols"] += not char.isspace()
        return ""

    def _flush(self) -> None:
        """Decode the bytes since the last change of the font, and append them."""
        if not self.pending:
            return
        data, encoding = bytes(self.pending), self.encodings.get(self.state.font, self.default_encoding)
        self.pending.clear()
        if encoding == _SYMBOL_SET:
            self._append("".join(map(self._known_symbol, data.decode("latin-1"))))
        else:
            self._append(data.decode(encoding, "replace"))

    def _append(self, text: str) -> None:
        if self.pending:
            self._flush()
        if self.state.skips or not text:
            return
        hidden = "deleted text" if self.state.deleted else "hidden text" if self.state.hides else ""
        if hidden:
            # A run is counted once, however many pieces it comes in.
            self.lost["hidden", hidden] += hidden != self.was_hidden and bool(text.strip())
        else:
            parts, shift = self.flow.parts, self.state.shift
            if (
                shift and parts and parts[-1].startswith(shift)
            ):  # one piece, whatever stands between in the file
                parts[-1] = f"{parts[-1].removesuffix(LEVEL)}{text}{LEVEL}"
            else:
                parts.append(f"{shift}{text}{LEVEL}" if shift else text)
        self.was_hidden = hidden if text.strip() else self.was_hidden


def _codec(number: int) -> str | None:
    """Return the codec of a Windows code page, or None if there is none."""
    name = "utf-8" if number == 65001 else "mac_roman" if number == 10000 else f"cp{number}"
    try:
        codecs.lookup(name)
    except LookupError:
        return None
    return name
