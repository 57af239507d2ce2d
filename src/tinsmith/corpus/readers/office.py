"""Read the Office files from before 2007 through kreuzberg, and name what workbooks hold unread."""

from __future__ import annotations

import re
import zipfile
from typing import Any

from tinsmith.corpus.readers.base import Loss, Piece, Unreadable, join_blocks
from tinsmith.corpus.readers.detect import MIME, has_utf16_name
from tinsmith.corpus.readers.mail import compose
from tinsmith.corpus.readers.sheets import hidden_sheets

# Parts with text that is not read: charts, SmartArt, comments, embedded documents.
_UNREAD = re.compile(
    r"xl/(?:charts/chart[^/]*\.xml|diagrams/data[^/]*\.xml|embeddings/[^/]+|comments[^/]*\.xml|comments/[^/]*\.xml)",
    re.IGNORECASE,
)
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


def unread_parts(archive: zipfile.ZipFile) -> list[Loss]:
    """Return the parts of an Excel file whose text is not read."""
    return [Loss(name, "not_read") for name in sorted(archive.namelist()) if _UNREAD.fullmatch(name)]


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
