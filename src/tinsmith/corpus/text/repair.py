"""Repair text: mojibake, line ends, control and invisible characters. Give it an id by hash."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import ftfy

from tinsmith.corpus.text.char_scan import scan_characters
from tinsmith.corpus.text.hidden import strip_invisible

# Typographic quotes, full-width forms and HTML entities stay: an author may have meant them.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False, uncurl_quotes=False, fix_character_width=False, normalization="NFC", explain=False
)
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_SOFT_HYPHEN = "\u00ad"
_SUSPECT_ASCII = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def repair(text: str) -> str:
    """Undo mojibake (ftfy), make line ends \\n, remove control and invisible characters, compose to NFC."""
    if text.isascii() and not _SUSPECT_ASCII.search(text):
        return text
    found = scan_characters(text)
    if found.is_plain:
        return text
    # ftfy works line by line, so lines in which nothing can be wrong are skipped.
    odd = re.compile("[^\t\n\x20-\x7e]" if found.doubtful else f"[{re.escape(found.unusual)}]")
    lines = _LINE_ENDS.sub("\n", text).split("\n")
    text = "\n".join(_repair_line(line) if odd.search(line) else line for line in lines)
    text = _CONTROLS.sub("", text).replace(_SOFT_HYPHEN, "")
    return unicodedata.normalize("NFC", strip_invisible(text))


def _repair_line(line: str) -> str:
    return _LINE_ENDS.sub("\n", ftfy.fix_text(line, _FTFY))


def document_id(text: str) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
