"""Find the encoding of text: by byte order marks, NULs, or UTF-8 with stray bytes; else a legacy one."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_DECLARED = re.compile(rb"""(?:encoding|charset)\s*=\s*["']?([A-Za-z0-9_.:-]+)""")
_SAMPLE = 65_536
# Other encodings hardly ever look like UTF-8: so many letters that do show that a byte that does not is stray.
_WHOLE_PER_STRAY = 4


def find_encoding(chunks: Callable[[], Iterable[bytes]]) -> str:
    """Return the encoding of text that comes in chunks, the first of which has at least 65,536 bytes or all.

    The text is decoded with errors="replace". Raises ValueError for binary content.
    """
    first = next(iter(chunks()), b"")
    sample = first[:_SAMPLE]
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            return encoding
    # Before UTF-8: ASCII letters in UTF-16 are valid UTF-8 with NULs.
    if wide := _wide_encoding(sample):
        return wide
    if _control_share(sample) > 0.05:
        raise ValueError("binary content")
    return "utf-8" if _is_nearly_utf8(chunks) else _legacy_encoding(sample)


def _is_nearly_utf8(chunks: Callable[[], Iterable[bytes]]) -> bool:
    """Return whether so few places must be replaced that the text is UTF-8 with stray bytes, or cut off at the end."""
    try:
        for _ in codecs.iterdecode(chunks(), "utf-8"):
            pass
        return True
    except UnicodeDecodeError:
        replaced = foreign = 0
        for text in codecs.iterdecode(chunks(), "utf-8", "replace"):
            stray = text.count("\ufffd")
            replaced += stray
            foreign += sum(char > "\x7f" for char in text) - stray
        return foreign >= _WHOLE_PER_STRAY * replaced


def _wide_encoding(sample: bytes) -> str | None:
    """Recognise UTF-16 or UTF-32 without a byte order mark by the positions of NUL bytes."""
    sample = sample[: len(sample) // 4 * 4]
    if len(sample) < 8 or sample.count(0) < len(sample) // 4:
        return None
    quarter = len(sample) // 4
    nuls = [sample[start::4].count(0) / quarter for start in range(4)]
    full = [share > 0.7 for share in nuls]
    empty = [share < 0.1 for share in nuls]
    if all(full[1:]) and empty[0]:
        return "utf-32-le"
    if all(full[:3]) and empty[3]:
        return "utf-32-be"
    if full[1] and full[3] and empty[0] and empty[2]:
        return "utf-16-le"
    if full[0] and full[2] and empty[1] and empty[3]:
        return "utf-16-be"
    return None


def _control_share(sample: bytes) -> float:
    controls = sum(sample.count(byte) for byte in range(32) if byte not in (9, 10, 11, 12, 13, 27))
    return controls / max(len(sample), 1)


def _legacy_encoding(sample: bytes) -> str:
    declared = _DECLARED.search(sample[:2048]) if sample.lstrip()[:1] == b"<" else None
    if declared and (codec := _usable_codec(sample, declared[1].decode("ascii"))):
        return codec
    if _looks_western(sample):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return best.encoding if best else "cp1252"


def _usable_codec(sample: bytes, name: str) -> str | None:
    # As on the web, Latin-1 means Windows-1252.
    name = "cp1252" if name.lower() in ("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii") else name
    try:
        sample.decode(name, "replace")
    except (LookupError, ValueError):
        return None
    return name


def _looks_western(sample: bytes) -> bool:
    """Return whether there are few high bytes, most of them letters or punctuation in Windows-1252."""
    high = [byte for byte in sample if byte > 127]
    text = bytes(high).decode("cp1252", "replace")
    likely = sum(char.isalpha() or char in "‘’“”–—…•€™§©®°·«»\xa0" for char in text)
    return len(high) < 0.25 * len(sample) and likely >= 0.9 * len(high)
