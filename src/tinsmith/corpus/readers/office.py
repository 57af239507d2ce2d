"""Read office documents: Word and PowerPoint from their XML, formats from before 2007 through kreuzberg."""

from __future__ import annotations

import posixpath
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from typing import Any

from tinsmith.corpus.readers.archive import local, parse_xml, read_member, relations
from tinsmith.corpus.readers.base import Loss, Piece, Unreadable, join_blocks, name_set
from tinsmith.corpus.readers.detect import MIME, has_utf16_name
from tinsmith.corpus.readers.mail import compose
from tinsmith.corpus.readers.sheets import hidden_sheets

# Properties contain tab stops, Fallback repeats the content of its choice, the others are deleted or hidden text.
_SKIPPED = name_set("pPr rPr tblPr sectPr Fallback del moveFrom instrText delText rt fld")
_SPECIAL = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# Parts with text that is not read: charts, SmartArt, comments, embedded documents.
_UNREAD = re.compile(
    r"(?:word|ppt|xl)/(?:charts/chart[^/]*\.xml|diagrams/data[^/]*\.xml|embeddings/[^/]+"
    r"|comments[^/]*\.xml|comments/[^/]*\.xml|afchunk[^/]*)",
    re.IGNORECASE,
)
_SYMBOL = b"<w:sym "  # a character of a font's own set
# Elements of equations: what stands before them, and between their sides.
_STACKED = {"f": ("", "/"), "sSup": ("", "^"), "rad": ("√", "")}
_SIDES = name_set("num den e sup")
_MIDNIGHT = re.compile(r"^(\d{4}-\d\d-\d\d) 00:00:00$")
_TIME = re.compile(r"^1899-12-3[01] (\d\d:\d\d:\d\d)$")
_ERRORS = {
    "#ERR: Div0": "#DIV/0!",
    "#ERR: NA": "#N/A",
    "#ERR: Name": "#NAME?",
    "#ERR: Null": "#NULL!",
    "#ERR: Num": "#NUM!",
    "#ERR: Ref": "#REF!",
    "#ERR: Value": "#VALUE!",
}
_MAIL_HEADER = re.compile(r"^(Subject|From|To|Cc|CC|Bcc|BCC|Date): ?(.*)$")
_WORD_FILE = b"\xec\xa5"
_SECTOR = 512


def read_docx(archive: zipfile.ZipFile) -> Piece:
    """Return body, text boxes and notes of a Word document, without headers and footers, which repeat."""
    names = sorted(name for name in archive.namelist() if re.fullmatch(r"word/document\d*\.xml", name))
    if not names:
        raise Unreadable("damaged", "no word/document.xml")
    notes = [name for name in ("word/footnotes.xml", "word/endnotes.xml") if name in archive.namelist()]
    return Piece(join_blocks(_flow(parse_xml(read_member(archive, name))) for name in (names[0], *notes)))


def read_pptx(archive: zipfile.ZipFile) -> Piece:
    """Return the text of the slides in order, each followed by its speaker notes."""
    folder = "ppt"
    show = parse_xml(read_member(archive, "ppt/presentation.xml"))
    targets = relations(archive, folder, "presentation.xml")
    ids = [
        value
        for node in show.iter()
        if local(node) == "sldId"
        for key, value in node.attrib.items()
        if key.endswith("}id")
    ]
    slides = [targets[identity][1] for identity in ids if identity in targets]
    blocks = []
    for slide in slides:
        blocks.append(_flow(parse_xml(read_member(archive, slide))))
        related = relations(archive, posixpath.dirname(slide), posixpath.basename(slide)).values()
        notes = [
            name for kind, name in related if kind.endswith("/notesSlide") and name in archive.namelist()
        ]
        blocks.extend(_flow(parse_xml(read_member(archive, name))) for name in notes)
    return Piece(join_blocks(blocks), {"slides": len(slides)})


def unread_parts(archive: zipfile.ZipFile) -> list[Loss]:
    """Return the parts of a Word, PowerPoint or Excel file whose text is not read."""
    lost = [Loss(name, "not_read") for name in sorted(archive.namelist()) if _UNREAD.fullmatch(name)]
    known = {loss.part for loss in lost}
    chunks = (
        name
        for kind, name in relations(archive, "word", "document.xml").values()
        if kind.endswith("/aFChunk") and name not in known
    )
    lost += [Loss(name, "not_read") for name in chunks]
    if "word/document.xml" in archive.namelist():
        symbols = read_member(archive, "word/document.xml").count(_SYMBOL)
        lost += [Loss("word/document.xml", "not_read", "symbols", symbols)] if symbols else []
    return lost


def read_ole(data: bytes, kind: str) -> Piece:
    """Read Office files from before 2007 and Outlook messages. Raises Unreadable: encrypted, unsupported_format."""
    if (
        has_utf16_name(data, "EncryptedPackage")
        or has_utf16_name(data, "EncryptedSummary")
        or _word_encrypted(data)
    ):
        raise Unreadable("encrypted", "password-protected document")
    if kind == "ole":
        raise Unreadable("unsupported_format", "OLE file of unknown kind")
    return _read_msg(data) if kind == "msg" else read_kreuzberg(data, kind)


def read_kreuzberg(data: bytes, kind: str) -> Piece:
    """Extract through kreuzberg: no OCR, no cache, no models. Raises Unreadable: encrypted or damaged."""
    result = _extract(data, kind)
    if kind in ("xlsx", "xls"):
        return Piece(_sheets(result, hidden_sheets(data)))
    return Piece(result.content)


def _extract(data: bytes, kind: str) -> Any:
    import kreuzberg

    # Only these kinds: for source code and XML, kreuzberg would download grammars.
    assert kind in ("xlsx", "xls", "doc", "ppt", "msg"), kind
    threads = kreuzberg.ConcurrencyConfig(max_threads=1)
    config = kreuzberg.ExtractionConfig(use_cache=False, disable_ocr=True, concurrency=threads)  # type: ignore[call-arg]
    try:
        return kreuzberg.extract_bytes_sync(data, mime_type=MIME[kind], config=config)
    except kreuzberg.KreuzbergError as error:
        locked = "password" in str(error).lower() or "encrypt" in str(error).lower()
        raise Unreadable("encrypted" if locked else "damaged", str(error)[:300]) from error


def _sheets(result: Any, hidden: list[str]) -> str:
    """Return each visible sheet as lines of tab-separated cells, below its name if there are several sheets."""
    names = result.metadata.get("sheet_names") or []
    blocks = []
    for table in result.tables:
        rows = ["\t".join(map(_show_old_cell, row)).rstrip() for row in table.cells]
        name = names[table.page_number - 1] if 0 < table.page_number <= len(names) else ""
        if name in hidden:
            continue
        name = name if len(names) > 1 else ""
        blocks.append("\n".join([name, *rows]) if any(rows) else "")
    return join_blocks(blocks)


def _show_old_cell(cell: str) -> str:
    """Return a cell as it is shown, where kreuzberg tells: a date without midnight, a time without a day, an error."""
    cell = _TIME.sub(r"\1", _MIDNIGHT.sub(r"\1", cell))
    return _ERRORS.get(cell, cell)


def _read_msg(data: bytes) -> Piece:
    head, _, body = _extract(data, "msg").content.partition("\n\n")
    headers = {match[1].lower(): match[2] for line in head.split("\n") if (match := _MAIL_HEADER.match(line))}
    if not headers:
        head, body = "", f"{head}\n\n{body}"
    secured = has_utf16_name(data, "multipart/encrypted") or has_utf16_name(data, "IPM.Note.SMIME")
    if secured and not body.strip():
        raise Unreadable("encrypted", "encrypted message")
    subject = headers.pop("subject", "")
    return compose(subject, body, {key: value for key, value in headers.items() if value})


def _word_encrypted(data: bytes) -> bool:
    """Return whether the file information block of Word 97 has the flag fEncrypted ([MS-DOC] 2.5.2)."""
    blocks = (data[start : start + 12] for start in range(0, len(data), _SECTOR))
    return any(block[:2] == _WORD_FILE and len(block) == 12 and block[11] & 1 for block in blocks)


def _flow(root: ElementTree.Element) -> str:
    """Return paragraphs and tables in order; Word and PowerPoint share the element names needed here."""
    blocks: list[str] = []
    _collect(root, blocks)
    return join_blocks(blocks)


def _collect(node: ElementTree.Element, blocks: list[str]) -> None:
    name = local(node)
    if name in _SKIPPED:
        return
    if name == "p":
        parts: list[str] = []
        boxes: list[ElementTree.Element] = []
        _paragraph(node, parts, boxes)
        blocks.append("".join(parts))
        for box in boxes:
            _collect(box, blocks)
    elif name == "tbl":
        rows = _children(node, "tr")
        blocks.append(
            "\n".join("\t".join(_cell(cell) for cell in _children(row, "tc")).rstrip() for row in rows)
        )
    else:
        for child in node:
            _collect(child, blocks)


def _children(node: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the nearest descendants of this name: rows and cells may be inside content controls."""
    children = []
    for child in node:
        if local(child) == name:
            children.append(child)
        elif local(child) not in _SKIPPED:
            children.extend(_children(child, name))
    return children


def _cell(node: ElementTree.Element) -> str:
    blocks: list[str] = []
    for child in node:
        _collect(child, blocks)
    return " ".join(" ".join(blocks).split())


def _paragraph(node: ElementTree.Element, parts: list[str], boxes: list[ElementTree.Element]) -> None:
    for child in node:
        name = local(child)
        if name == "t":
            parts.append(child.text or "")
        elif name in _SPECIAL:
            parts.append(_SPECIAL[name])
        elif name == "txbxContent":
            boxes.append(child)
        elif name in _STACKED or (name == "r" and _is_raised(child)):
            _stacked(child, parts, boxes)
        elif name not in _SKIPPED:
            _paragraph(child, parts, boxes)


def _is_raised(run: ElementTree.Element) -> bool:
    """Return whether a run is superscript, in Word's or PowerPoint's words."""
    for properties in (child for child in run if local(child) == "rPr"):
        raised = properties.get("baseline", "0").lstrip("0").isdecimal()
        aligned = (node for node in properties if local(node) == "vertAlign")
        return raised or any("superscript" in node.attrib.values() for node in aligned)
    return False


def _stacked(node: ElementTree.Element, parts: list[str], boxes: list[ElementTree.Element]) -> None:
    """Append a fraction, power, root or raised run so that its figures do not join those before it."""
    sides: list[list[str]] = []
    for child in [node] if local(node) == "r" else [side for side in node if local(side) in _SIDES]:
        sides.append([])
        _paragraph(child, sides[-1], boxes)
    before, after = "".join(parts)[-1:], "".join(sides[0]) if sides else ""
    joins = before.isdigit() and after[:1].isdigit()
    if local(node) == "r":
        parts.append("^" if joins else "")
    else:
        parts.append(_STACKED[local(node)][0] or (" " if joins else ""))
    parts.append(_STACKED.get(local(node), ("", ""))[1].join("".join(side) for side in sides))
