"""Decode the text of mail as mail programs do: charsets by the name given, headers, lines that flow."""

from __future__ import annotations

import binascii
import codecs
import contextlib
import email.errors
import email.header
import re

import ftfy.bad_codecs  # noqa: F401  registers the codecs whose names begin with "sloppy"

from tinsmith.corpus.readers.base import Unreadable
from tinsmith.corpus.readers.plain import decode

# What mail programs read under a narrower name, by Python's name for that: each encoding holds the one before it.
_SUPERSETS: dict[str, tuple[str, ...]] = {
    "ascii": ("utf-8",),
    "big5": ("big5hkscs", "cp950"),
    "cp874": ("sloppy-cp874",),
    "euc_jp": ("euc_jp", "euc_jis_2004"),
    "euc_kr": ("cp949",),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "iso2022_jp": ("iso2022_jp_2", "iso2022_jp_ext", "iso2022_jp_2004"),
    "iso8859-1": ("sloppy-windows-1252",),
    "iso8859-9": ("sloppy-windows-1254",),
    "iso8859-11": ("sloppy-cp874",),
    "shift_jis": ("cp932", "shift_jisx0213"),
    "tis-620": ("sloppy-cp874",),
    **{f"cp{number}": (f"sloppy-windows-{number}",) for number in range(1250, 1259)},
}
# Names that Python does not know.
_ALIASES = {
    "big5-eten": "big5",
    "cn-big5": "big5",
    "cn-gb": "gb2312",
    "cp50220": "iso2022_jp",
    "cp50221": "iso2022_jp",
    "dos-874": "cp874",
    "iso-2022-jp-ms": "iso2022_jp",
    "iso-8859-6-e": "iso8859-6",
    "iso-8859-6-i": "iso8859-6",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-8-i": "iso8859-8",
    "ks_c_5601": "euc_kr",
    "logical": "iso8859-8",
    "windows-31j": "shift_jis",
    "windows-874": "cp874",
    "windows-936": "gbk",
    "windows-949": "euc_kr",
    "windows-950": "big5",
}
_NO_CHARSETS = ("unicode_escape", "raw_unicode_escape", "punycode", "idna", "undefined")
_JAPANESE = re.compile(rb"\x1b(\$[B@]|\([BJI])")
_MAX_STRAY = 0.05  # of the characters may be broken; more of them, and the name is wrong
_FOLD = re.compile(r"\r?\n[ \t]")
_META = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
_QUOTES = re.compile(">*")
_SIGNATURE = "-- "


def decode_labelled(data: bytes, charset: str) -> str:
    """Decode bytes in a charset that a message names, or in the one that includes it; stray bytes become U+FFFD.

    A name that no program knows, or that most of the text contradicts, is ignored. Raises Unreadable for binary
    content.
    """
    name = _python_name(charset.lower().partition("*")[0].strip("\"' "))
    encodings = _SUPERSETS.get(name, (name,)) if name else ()
    for encoding in encodings:
        with contextlib.suppress(UnicodeError):
            return data.decode(encoding)
    if not encodings or encodings == ("utf-8",):
        return decode(data)
    text = _decode_japanese(data) if name == "iso2022_jp" else data.decode(encodings[0], "replace")
    return text if text.count("\ufffd") <= max(1, _MAX_STRAY * len(text)) else decode(data)


def _python_name(charset: str) -> str:
    """Return Python's name of a charset; the empty string for a name without one."""
    for name in (charset, charset.removeprefix("x-"), charset.replace("cp-", "cp")):
        with contextlib.suppress(LookupError, ValueError):
            found = codecs.lookup(_ALIASES.get(name, name)).name
            b"x".decode(
                found, "replace"
            )  # a LookupError if it is one of Python's codecs that are not of text
            return "" if found.replace("-", "_") in _NO_CHARSETS else found
    return ""


def _decode_japanese(data: bytes) -> str:
    """Decode ISO-2022-JP with the letters that Windows adds, by way of Shift-JIS."""
    parts = _JAPANESE.split(data)
    text = parts[0].decode("ascii", "replace")
    for escape, part in zip(parts[1::2], parts[2::2], strict=True):
        if escape[:1] == b"$":
            pairs = zip(part[::2], part[1::2], strict=False)
            text += b"".join(_shift(high, low) for high, low in pairs).decode("cp932", "replace")
        elif escape == b"(I":
            text += bytes(byte | 0x80 for byte in part).decode("cp932", "replace")
        else:
            text += part.decode("ascii", "replace")
    return text


def _shift(high: int, low: int) -> bytes:
    """Return the Shift-JIS code of a pair of JIS X 0208."""
    if not (0x21 <= high <= 0x7E and 0x21 <= low <= 0x7E):
        return b"?"
    lead = (high + 1) // 2 + (0x70 if high < 0x5F else 0xB0)
    trail = low + (0x1F if low < 0x60 else 0x20) if high % 2 else low + 0x7E
    return bytes((lead, trail))


def decode_page(data: bytes, charset: str) -> str:
    """Decode a page of HTML in the charset that the message names, else in the one that the page names."""
    named = _META.search(data[:2048])
    return decode_labelled(data, charset or (named[1].decode("ascii", "replace") if named else ""))


def decode_header(raw: str) -> str:
    """Decode a header as it stands in the message, also where encoded words break within a character."""
    line = _FOLD.sub(" ", raw)
    with contextlib.suppress(UnicodeError, Unreadable):
        line = decode_labelled(line.encode("ascii", "surrogateescape"), "utf-8")
    try:
        chunks = email.header.decode_header(line)
    except (email.errors.HeaderParseError, binascii.Error, ValueError):
        return " ".join(line.split())
    words = []
    for chunk, charset in chunks:
        if isinstance(chunk, str):
            words.append(chunk)
        elif charset is None:
            words.append(chunk.decode("raw-unicode-escape", "replace"))
        else:
            try:
                words.append(decode_labelled(chunk, charset))
            except Unreadable:
                words.append(chunk.decode("latin-1"))
    return " ".join("".join(words).split())


def unflow(text: str, *, delete_space: bool) -> str:
    """Join lines that end in a space, as format=flowed has it (RFC 3676); `delete_space` drops that space."""
    lines: list[list[str]] = []
    flows, depth = False, 0
    for raw in text.split("\n"):
        line = raw.rstrip("\r")
        quotes = len(_QUOTES.match(line)[0])  # type: ignore[index]
        content = line[quotes:].removeprefix(" ")
        fixed = content == _SIGNATURE or not content.endswith(" ")
        kept = content[:-1] if delete_space and not fixed else content
        if flows and quotes == depth and content != _SIGNATURE:
            lines[-1].append(kept)
        else:
            lines.append([f"{'>' * quotes} {kept}" if quotes else kept])
        flows, depth = not fixed, quotes
    return "\n".join(line if line == _SIGNATURE else line.rstrip() for line in map("".join, lines))
