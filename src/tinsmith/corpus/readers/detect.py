"""Detect the kind of a file by its content first and its name second."""

from __future__ import annotations

import re
import zipfile
from pathlib import PurePath

from tinsmith.base.records import LINE_END
from tinsmith.corpus.readers.base import name_set

MIME = {
    "text": "text/plain",
    "markdown": "text/markdown",
    "html": "text/html",
    "xml": "application/xml",
    "csv": "text/csv",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "mail": "message/rfc822",
    "pdf": "application/pdf",
    "rtf": "application/rtf",
    "parquet": "application/vnd.apache.parquet",
    "gzip": "application/gzip",
    "zip": "application/zip",
    "epub": "application/epub+zip",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "doc": "application/msword",
    "ppt": "application/vnd.ms-powerpoint",
    "xls": "application/vnd.ms-excel",
    "msg": "application/vnd.ms-outlook",
    "ole": "application/x-ole-storage",
    "image": "image/*",
    "binary": "application/octet-stream",
}

_IMAGES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0", b"8BPS")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OFFICE_PARTS = (("word/document", "docx"), ("ppt/presentation", "pptx"), ("xl/workbook", "xlsx"))
# Streams that distinguish OLE files. A message may embed a document, hence the order.
_OLE_STREAMS = (
    ("__properties_version1.0", "msg"),
    ("PowerPoint Document", "ppt"),
    ("WordDocument", "doc"),
    ("Workbook", "xls"),
    ("Book", "xls"),
)
_HEADER = re.compile(r"[!-9;-~]+:(?:\s|$)")
_MAIL_HEADERS = name_set("from to subject date mime-version received message-id return-path content-type")
_MAIL_PROOF = {"mime-version", "received", "message-id", "return-path", "content-type", "from"}
_HTML = re.compile(r"<!doctype\s+html|<html[\s>]|<head[\s>]|<body[\s>]", re.IGNORECASE)


def detect_bytes(data: bytes, name: str) -> str:
    """Return the kind of a file by its first bytes, or `text` if it must be decoded to know more."""
    head = data[:1024]
    # Other things may stand before a PDF's mark, but a letter or a text that quotes the mark does not end as a PDF.
    if head.lstrip(b"\xef\xbb\xbf \t\r\n\x00").startswith(b"%PDF-") or (
        b"%PDF-" in head and b"%%EOF" in data[-1024:]
    ):
        return "pdf"
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return "zip"
    if head.startswith(_OLE):
        return _ole_kind(data, name)
    if head.lstrip().startswith(b"{\\rtf"):
        return "rtf"
    if head.startswith(b"PAR1") and (
        data.endswith(b"PAR1") or _is_binary(head)
    ):  # a truncated file is damaged Parquet
        return "parquet"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if (head.startswith(_IMAGES) and _is_binary(head)) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    return "text"


def zip_kind(archive: zipfile.ZipFile) -> str:
    """Return the kind of a ZIP file: an office document, a book, or `zip` for plain files."""
    names = archive.namelist()
    for prefix, kind in _OFFICE_PARTS:
        if any(name.startswith(prefix) for name in names):
            return kind
    if "mimetype" in names:
        mime = archive.read("mimetype")[:100].decode("ascii", "replace").strip()
        return next((kind for kind in ("epub", "odt", "ods", "odp") if mime.startswith(MIME[kind])), "zip")
    return "epub" if "META-INF/container.xml" in names else "zip"


def detect_text(text: str, name: str) -> str:
    """Return the kind of a decoded text: mail, html, xml, json, jsonl, csv, markdown or text."""
    suffix = PurePath(name).suffix.lower()
    start = text[:20_000].lstrip("\ufeff \t\r\n\x1e")
    if _is_mail(start, suffix):
        return "mail"
    if start.startswith("<"):
        if _HTML.match(start) or suffix in (".html", ".htm", ".xhtml"):
            return "html"
        if start.startswith("<?xml"):
            return "html" if _HTML.search(start[:2000]) and "xsl:" not in start[:2000] else "xml"
        if suffix in (".xml", ".xsl", ".xsd", ".svg", ".rdf", ".rss", ".atom"):
            return "xml"
    by_name = {
        ".html": "html",
        ".htm": "html",
        ".xhtml": "html",
        ".csv": "csv",
        ".tsv": "csv",
        ".tab": "csv",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".md": "markdown",
        ".markdown": "markdown",
    }
    if suffix in by_name:
        return by_name[suffix]
    return "json" if start.startswith(("{", "[")) else "text"


def has_utf16_name(data: bytes, name: str) -> bool:
    """Return whether an OLE file contains a stream or text of this name."""
    return name.encode("utf-16-le") in data


def _ole_kind(data: bytes, name: str) -> str:
    found = [kind for stream, kind in _OLE_STREAMS if has_utf16_name(data, stream)]
    if "msg" not in found and (suffix := PurePath(name).suffix.lower().lstrip(".")) in found:
        return suffix
    return found[0] if found else "ole"


def _is_mail(start: str, suffix: str) -> bool:
    block: set[str] = set()
    for number, line in enumerate(LINE_END.split(start)):
        if not line.strip():
            break
        if line[0] in " \t" or (number == 0 and line.startswith("From ")):
            continue
        if not _HEADER.match(line):
            return False if suffix != ".eml" else bool(block & _MAIL_HEADERS)
        block.add(line.split(":", 1)[0].lower())
    known = block & _MAIL_HEADERS
    return (
        bool(known)
        if suffix in (".eml", ".mht", ".mhtml", ".mbox")
        else len(known) >= 2 and bool(known & _MAIL_PROOF)
    )


def _is_binary(head: bytes) -> bool:
    return any(byte < 9 or (13 < byte < 32 and byte != 27) or byte > 127 for byte in head[:64])
