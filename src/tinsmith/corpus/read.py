"""Read one file into documents, or into the reason why it has none."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tinsmith.corpus.readers.archive import gunzip, open_zip, read_epub, read_member
from tinsmith.corpus.readers.base import DEFAULT_TEXT_FIELD, Limits, Loss, Part, Piece, Unreadable, clean
from tinsmith.corpus.readers.detect import MIME, detect_bytes, detect_text, zip_kind
from tinsmith.corpus.readers.plain import decode, split_front_matter

# Why a file or a part of it has no document: the `reason` in files.jsonl -> its explanation.
REASONS = {
    "crashed": "the reader process crashed",
    "damaged": "the format is known, but the content cannot be parsed",
    "damaged_record": "a line that is not a record, or a record whose text is not text",
    "empty": "nothing but white space",
    "encrypted": "protected by a password or encrypted for a recipient",
    "forgotten": "all its content is on the erasure list of the run",
    "hidden": "text that the document does not show to its reader",
    "image": "a picture; pictures are not recognised",
    "no_text_field": "records without the field ingest.text_field",
    "no_text_layer": "a PDF without text and without scanned pages",
    "not_read": "a part of a document that no reader opens, such as a comment or an embedded object",
    "not_a_file": "a device, pipe or socket",
    "out_of_memory": "needs more memory than a reader process may use",
    "scanned": "a PDF of scanned pages; ingest.ocr = true reads them",
    "timeout": "took longer than ingest.seconds_per_file",
    "too_big": "larger than ingest.max_megabytes_per_file",
    "unpacks_too_big": "an archive that would unpack to far more than its size",
    "unreadable": "the operating system does not open it",
    "unsupported_format": "binary content of no known format",
}
_UNPACK_FACTOR = 5
_MANIFEST = "META-INF/manifest.xml"  # of OpenDocument
_MAX_DEPTH = 3  # of documents within documents
_YAML_SUFFIXES = (".yaml", ".yml")


@dataclass
class ReadResult:
    """The outcome of one file. `documents` are {text, meta}; `reason` says why there are none, else it is empty.

    `detail` adds to the reason, or says how the documents were read where that is not plain.
    `lost` are the parts without a document, {part, reason, detail, count}. `records` counts the documents that come
    from a record's text field.
    """

    sha256: str = ""
    bytes: int = 0
    mime: str = ""
    reason: str = ""
    detail: str = ""
    documents: list[dict[str, Any]] = field(default_factory=list)
    lost: list[dict[str, Any]] = field(default_factory=list)
    records: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)


def read_file(
    path: Path, *, text_field: str = DEFAULT_TEXT_FIELD, max_bytes: int = 200_000_000, ocr: bool = False
) -> ReadResult:
    """Read one file in this process. Bad content never raises: the result has a reason.

    Args:
        path: the file.
        text_field: field of a record with its text.
        max_bytes: larger files are not opened; archives may unpack to five times as much.
        ocr: recognise scanned pages, which needs the extra `ocr`.
    """
    result = ReadResult()
    try:
        status = path.stat()
        result.bytes = status.st_size
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not_a_file")
        if status.st_size > max_bytes:
            raise Unreadable("too_big", f"{status.st_size} bytes")
        data = path.read_bytes()
        result.sha256 = hashlib.sha256(data).hexdigest()
        kind, parts = _read_bytes(data, path.name, Limits(text_field, _UNPACK_FACTOR * max_bytes, ocr))
        result.mime = MIME[kind]
        pieces = _clean(part for part in parts if isinstance(part, Piece))
        result.documents = [{"text": piece.text, "meta": piece.meta} for piece in pieces]
        result.records = sum(piece.record for piece in pieces)
        result.detail = "; ".join(dict.fromkeys(piece.note for piece in pieces if piece.note))[:300]
        result.lost = [asdict(part) for part in parts if isinstance(part, Loss)]
        if not result.documents:
            raise _whole_loss(result.lost)
    except Unreadable as refusal:
        result.reason, result.detail = refusal.reason, refusal.detail
        result.mime = result.mime or refusal.mime
    except OSError as error:
        result.reason, result.detail = "unreadable", os.strerror(error.errno) if error.errno else str(error)
    except MemoryError:
        result.reason = "out_of_memory"
    # Parsers raise anything on damaged files; the row in files.jsonl names the error.
    except Exception as error:
        result.reason, result.detail = "damaged", f"{type(error).__name__}: {error}"[:300]
    return result


def _clean(pieces: Iterable[Piece]) -> list[Piece]:
    """Return the pieces with clean text, without those that are then empty."""
    cleaned = (replace(piece, text=clean(piece.text)) for piece in pieces)
    return [piece for piece in cleaned if piece.text]


def _whole_loss(lost: list[dict[str, Any]]) -> Unreadable:
    """Return why a file has no document at all: the reason of all its parts, `empty` if they differ."""
    reasons = {row["reason"] for row in lost}
    details = (": ".join(filter(None, (row["part"], row["reason"], row["detail"]))) for row in lost)
    return Unreadable(reasons.pop() if len(reasons) == 1 else "empty", "; ".join(details)[:300])


def _read_bytes(
    data: bytes, name: str, limits: Limits, *, nested: bool = False
) -> tuple[str, Sequence[Part]]:
    """Return the kind of the data and its pieces."""
    if not data:
        raise Unreadable("empty", "0 bytes")
    kind = detect_bytes(data, name)
    try:
        if kind == "zip":
            return _read_zip(data, limits, nested=nested)
        if kind == "gzip":
            return (kind, _read_gzip(data, name, limits)) if not nested else _refuse(kind)
        if kind == "text":
            return _read_text(data, name, limits)
        return kind, _BINARY[kind](data, limits)
    except Unreadable as refusal:
        refusal.mime = MIME["binary" if kind == "text" and refusal.reason == "unsupported_format" else kind]
        raise


def _read_gzip(data: bytes, name: str, limits: Limits) -> Sequence[Part]:
    return _read_bytes(gunzip(data, limits), name.removesuffix(".gz"), limits, nested=True)[1]


def _refuse(kind: str) -> tuple[str, Sequence[Part]]:
    raise Unreadable("unsupported_format", f"{kind} within an archive")


def _read_text(data: bytes, name: str, limits: Limits) -> tuple[str, Sequence[Part]]:
    text = decode(data)
    # A YAML file may hold several documents; the first is not front matter.
    meta, body = ({}, text) if name.lower().endswith(_YAML_SUFFIXES) else split_front_matter(text)
    kind = detect_text(body, name)
    pieces = _text_pieces(kind, data if body is text else body.encode(), body, limits)
    for piece in pieces:
        if isinstance(piece, Piece):
            piece.meta = meta | piece.meta
    return kind, pieces


def _text_pieces(kind: str, data: bytes, text: str, limits: Limits) -> Sequence[Part]:
    from tinsmith.corpus.readers import mail, markup, records

    if kind == "mail":
        # The mail parser needs the original bytes, unless they are UTF-16 or UTF-32.
        return mail.read_mailbox(text.encode() if b"\0" in data[:1024] else data)
    readers: dict[str, Callable[[], Sequence[Part]]] = {
        "html": lambda: _html(text),
        "xml": lambda: _html(text) if markup.is_drawing(text) else [markup.read_xml(text)],
        "json": lambda: records.read_json(text, limits),
        "jsonl": lambda: records.read_jsonl(text, limits),
        "csv": lambda: records.read_csv(text, limits),
    }
    return readers[kind]() if kind in readers else [Piece(text)]


def _html(text: str) -> Sequence[Part]:
    from tinsmith.corpus.readers.markup import read_html

    piece, lost = read_html(text)
    return [piece, *lost]


def _read_zip(data: bytes, limits: Limits, *, nested: bool) -> tuple[str, Sequence[Part]]:
    from tinsmith.corpus.readers import office, opendocument, sheets
    from tinsmith.corpus.readers.ooxml import docx, pptx

    archive = open_zip(data, limits)
    kind = zip_kind(archive)
    if kind == "zip":
        return (kind, _read_members(archive, limits)) if not nested else _refuse(kind)
    if _MANIFEST in archive.namelist() and b"encryption-data" in read_member(archive, _MANIFEST):
        raise Unreadable("encrypted", "password-protected document")
    whole = {
        "epub": read_epub,
        "odt": opendocument.read_odt,
        "ods": opendocument.read_ods,
        "odp": opendocument.read_odp,
    }
    if kind in whole:
        return kind, whole[kind](archive)
    if kind in ("docx", "pptx"):
        read = docx.read_docx if kind == "docx" else pptx.read_pptx
        return kind, read(archive, partial(_read_member, limits))
    if kind == "xlsx" and "xl/workbook.bin" not in archive.namelist():
        return kind, [*sheets.read_xlsx(archive), *office.unread_parts(archive)]
    return kind, [office.read_kreuzberg(data, kind), *office.unread_parts(archive)]


def _read_members(archive: zipfile.ZipFile, limits: Limits) -> Sequence[Part]:
    """Read the files in an archive; those without text are losses."""
    members = sorted(archive.infolist(), key=lambda member: member.filename)
    names = [member.filename for member in members if not member.is_dir()]
    loads = ((name, partial(read_member, archive, name)) for name in names)
    return [part for name, load in loads for part in _read_member(limits, name, load)]


def _read_member(limits: Limits, name: str, load: Callable[[], bytes]) -> list[Part]:
    """Read a file in an archive or a document. What goes wrong is a loss: the others are read all the same."""
    if limits.depth >= _MAX_DEPTH:
        return [Loss(name, "not_read", "documents within documents within documents")]
    try:
        _, found = _read_bytes(load(), name, replace(limits, depth=limits.depth + 1), nested=True)
    except Unreadable as refusal:
        return [Loss(name, refusal.reason, refusal.detail)]
    except MemoryError:
        return [Loss(name, "out_of_memory")]
    # Parsers raise anything on damaged files.
    except Exception as error:
        return [Loss(name, "damaged", f"{type(error).__name__}: {error}"[:300])]
    if not any(isinstance(part, Loss) or clean(part.text) for part in found):
        found = [Loss("", "empty")]
    return [_within(name, part) for part in found]


def _within(member: str, part: Part) -> Part:
    """Return a part of an archive's member as a part of the archive."""
    if isinstance(part, Loss):
        return replace(part, part=": ".join(filter(None, (member, part.part))))
    note = f"{member}: {part.note}" if part.note else ""
    return replace(part, meta={"member": member} | part.meta, note=note)


def _pdf(data: bytes, limits: Limits) -> Sequence[Part]:
    from tinsmith.corpus.readers.pdf import read_pdf

    return read_pdf(data, limits)


def _parquet(data: bytes, limits: Limits) -> Sequence[Part]:
    from tinsmith.corpus.readers.records import read_parquet

    return read_parquet(data, limits)


def _image(data: bytes, limits: Limits) -> Sequence[Part]:
    raise Unreadable("image")


def _rtf(data: bytes, limits: Limits) -> Sequence[Part]:
    from tinsmith.corpus.readers.rtf import read_rtf

    return read_rtf(data)


def _ole(kind: str) -> Callable[[bytes, Limits], Sequence[Part]]:
    def read(data: bytes, limits: Limits) -> Sequence[Part]:
        from tinsmith.corpus.readers import office, sheets

        hidden = sheets.hidden_sheets(data) if kind == "xls" else []
        losses = [Loss(f"sheet {name}", "hidden", "hidden sheet") for name in hidden]
        return [office.read_ole(data, kind), *losses]

    return read


_BINARY: dict[str, Callable[[bytes, Limits], Sequence[Part]]] = {
    "pdf": _pdf,
    "parquet": _parquet,
    "image": _image,
    "rtf": _rtf,
    **{kind: _ole(kind) for kind in ("doc", "ppt", "xls", "msg", "ole")},
}
