"""ZIP archives, EPUB books and gzip."""

from __future__ import annotations

import gzip
import io
import posixpath
import urllib.parse
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib
from dataclasses import replace

from tinsmith.corpus.readers.base import Limits, Loss, Part, Piece, Unreadable, join_blocks
from tinsmith.corpus.readers.markup import read_html
from tinsmith.corpus.readers.plain import decode

# Text compresses 3 to 20 times, a table of equal cells perhaps 100 times, a zip bomb 1,000 times.
_MAX_RATIO = 200
_SUSPICIOUS_BYTES = 50_000_000
_MAX_MEMBERS = 100_000


def open_zip(data: bytes, limits: Limits) -> zipfile.ZipFile:
    """Open a ZIP file. Raises Unreadable: damaged, encrypted, unpacks_too_big."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise Unreadable("damaged", str(error)) from error
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > limits.max_unpacked_bytes or (size > _SUSPICIOUS_BYTES and size > _MAX_RATIO * len(data)):
        raise Unreadable("unpacks_too_big", f"{len(data)} bytes unpack to {size}")
    if len(members) > _MAX_MEMBERS:
        raise Unreadable("unpacks_too_big", f"{len(members)} members")
    if any(member.flag_bits & 1 for member in members):
        raise Unreadable("encrypted", "password-protected archive")
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member's bytes. Raises Unreadable if it is missing or damaged."""
    try:
        return archive.read(name)
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise Unreadable("damaged", f"{name}: {error}") from error


def gunzip(data: bytes, limits: Limits) -> bytes:
    """Unpack gzip. Raises Unreadable: damaged, unpacks_too_big (more than `limits.max_unpacked_bytes`)."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(limits.max_unpacked_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable("damaged", str(error)) from error
    if len(plain) > limits.max_unpacked_bytes:
        raise Unreadable(
            "unpacks_too_big", f"{len(data)} bytes unpack to more than {limits.max_unpacked_bytes}"
        )
    return plain


def read_epub(archive: zipfile.ZipFile) -> list[Part]:
    """Return the chapters of a book in reading order, and those that are missing as losses.

    Raises Unreadable: damaged, encrypted (DRM).
    """
    if "META-INF/rights.xml" in archive.namelist():
        raise Unreadable("encrypted", "digital rights management")
    container = parse_xml(read_member(archive, "META-INF/container.xml"))
    opf = next((node.get("full-path", "") for node in container.iter() if local(node) == "rootfile"), "")
    package = parse_xml(read_member(archive, opf))
    items = {node.get("id"): node.get("href", "") for node in package.iter() if local(node) == "item"}
    spine = [items.get(node.get("idref"), "") for node in package.iter() if local(node) == "itemref"]
    folder = posixpath.dirname(opf)
    known = set(archive.namelist())
    names = [posixpath.normpath(posixpath.join(folder, urllib.parse.unquote(href))) for href in spine if href]
    read = [
        (name, *read_html(decode(read_member(archive, name)), is_xhtml=True))
        for name in names
        if name in known
    ]
    if not read:
        raise Unreadable("damaged", "no chapter of the book is there")
    text = join_blocks(piece.text for _, piece, _ in read)
    lost = [replace(loss, part=f"{name}: {loss.part}") for name, _, losses in read for loss in losses]
    fields = ("title", "creator", "language", "rights")
    meta = {local(node): node.text.strip() for node in package.iter() if local(node) in fields and node.text}
    missing = (name for name in names if name not in known)
    return [
        Piece(text, meta),
        *lost,
        *(Loss(name, "damaged", "is not in the book") for name in missing),
    ]


def parse_xml(data: bytes) -> ElementTree.Element:
    """Parse XML. Raises Unreadable if it is not well-formed."""
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise Unreadable("damaged", f"XML: {error}") from error


def local(node: ElementTree.Element) -> str:
    """Return an element's name without its namespace; the empty string for comments."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def relations(archive: zipfile.ZipFile, folder: str, name: str) -> dict[str, tuple[str, str]]:
    """Return the relationships of a part by id: (type, target part)."""
    path = f"{folder}/_rels/{name}.rels"
    if path not in archive.namelist():
        return {}
    nodes = parse_xml(read_member(archive, path))
    return {
        node.get("Id", ""): (node.get("Type", ""), _resolve(folder, node.get("Target", "")))
        for node in nodes
        if node.get("TargetMode") != "External"
    }


def _resolve(folder: str, target: str) -> str:
    return (
        target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
    )
