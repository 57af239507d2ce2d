"""Find the encoding of text: by byte order marks, NULs, or UTF-8 with stray bytes; else a legacy one."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_DECLARED = re.compile(rb"""(?:encoding|charset)\s*=\s*["']?([A-Za-z0-9_.:-]+)""")
_ESCAPES = (
    (b"\x1b$)C", "iso2022_kr"),
    (b"\x1b$B", "iso2022_jp"),
    (b"\x1b$@", "iso2022_jp"),
    (b"\x1b(J", "iso2022_jp"),
)
_SAMPLE = 65_536
# White space, escape, and the separators of files, groups, records and units (JSON text sequences begin with one).
_TEXT_CONTROLS = (9, 10, 11, 12, 13, 27, 28, 29, 30, 31)
# Other encodings hardly ever look like UTF-8: so many letters that do show that a byte that does not is stray.
_WHOLE_PER_STRAY = 4
_FEW = 8  # fewer stray bytes than these, and than letters, are damage
_FOREIGN = re.compile("[^\0-\x7f\ufffd]")
_LATIN = re.compile("[\x80-\u024f\u1e00-\u1eff\u2000-\u20bf]")  # letters of Latin script, and punctuation
# Stray bytes that are letters or punctuation in Windows-1252, unless they are the first half of a UTF-8 letter.
_HALVES = b"\xc2\xc3"
_WITHIN = re.compile(rb"(?<=[A-Za-z])[\x80-\xff](?=[A-Za-z])")
_HIGH = re.compile(rb"[\x80-\xff]")
_IN_WORDS = "’·\xad"
_PUNCTUATION = "‘’“”„‚–—…•€™§©®°·«»¡¿ªº²³£\xa0"
_AS_WINDOWS = "tinsmith-windows-1252"
# The letters beyond ASCII of languages in Latin script: their encodings are alike, their alphabets are not.
_ALPHABETS = (
    "äöüß",  # German
    "àâæçéèêëîïôœùûüÿ",  # French
    "áéíñóúü",  # Spanish
    "ãõáéíóúâêôàçü",  # Portuguese
    "àèéìíîòóù",  # Italian
    "çéëïöü",  # Dutch
    "åäöæøé",  # Nordic
    "áðéíóúýþæö",  # Icelandic
    "ąćęłńóśźż",  # Polish
    "áčďéěíňóřšťúůýž",  # Czech
    "áäčďéíĺľňóôŕšťúýž",  # Slovak
    "áéíóöőúüű",  # Hungarian
    "ăâîșțşţ",  # Romanian
    "čćđšž",  # Croatian, Slovenian
    "çğıiöşüâîû",  # Turkish
    "ąčęėįšųūž",  # Lithuanian
    "āčēģīķļņšūž",  # Latvian
    "äöõüšž",  # Estonian
)
_LATIN_ENCODINGS = (
    "cp1252",
    "cp1250",
    "iso8859-2",
    "cp1254",
    "cp1257",
    "cp850",
    "cp852",
    "mac-roman",
    "mac-latin2",
)
# From so much of the letters on, an encoding fits; another must fit by so much more than the one before it.
_FITS, _MARGIN = 0.9, 0.05
_ASCII_LETTERS = tuple(bytes([byte]) for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_CYRILLIC, _HEBREW = 0xC0, range(0xE0, 0xFB)  # bytes of letters in Windows-1251 and Windows-1255
_SOME_LETTERS = 10
_NEAR = 4096  # bytes
_COMMON_MARKS = " \n.,。，、"
_NO_TEXT = ("Cn", "Co", "Cc")  # unassigned, private, control
_ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK", "IDEOGRAPHIC": "CJK"}


class Encoding(NamedTuple):
    """How bytes become text: the name of a codec, and what it does with bytes that it does not know."""

    name: str
    errors: str


def find_encoding(chunks: Callable[[], Iterable[bytes]]) -> Encoding:
    """Return the encoding of text that comes in chunks, the first of which has at least 65,536 bytes or all.

    A stray byte becomes U+FFFD; where UTF-8 and Windows-1252 are mixed, it becomes its letter in the latter. Raises
    ValueError for binary content.
    """
    first = next(iter(chunks()), b"")
    sample = first[:_SAMPLE]
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            return Encoding(encoding, "replace")
    # Before UTF-8: ASCII letters in UTF-16 are valid UTF-8 with NULs.
    if wide := _wide_encoding(sample):
        return Encoding(wide, "replace")
    if _control_share(sample) > 0.05:
        if wide := _wide_script(sample):
            return Encoding(wide, "replace")
        raise ValueError("binary content")
    for escape, encoding in _ESCAPES:
        if escape in sample:
            return Encoding(encoding, "replace")
    if errors := _utf8_errors(chunks):
        return Encoding("utf-8", errors)
    return Encoding(_declared_encoding(sample) or _legacy_encoding(*_legacy_sample(chunks())), "replace")


def _utf8_errors(chunks: Callable[[], Iterable[bytes]]) -> str:
    """Return what to do with bytes that are not UTF-8; empty if the text is in another encoding."""
    try:
        for _ in codecs.iterdecode(chunks(), "utf-8"):
            pass
        return "replace"
    except UnicodeDecodeError:
        replaced = foreign = latin = unknown = 0
        for text in codecs.iterdecode(chunks(), "utf-8", "replace"):
            replaced += text.count("\ufffd")
            foreign += len(_FOREIGN.findall(text))
            latin += len(_LATIN.findall(text))
        for text in codecs.iterdecode(chunks(), "utf-8", _AS_WINDOWS):
            unknown += text.count("\ufffd")
    if replaced < _FEW and foreign >= replaced:
        return "replace"
    # Text in two encodings, such as a log of two programs: nearly all that is not UTF-8 are letters of Windows-1252.
    mixed = 0 < foreign <= latin / _FITS and _WHOLE_PER_STRAY * foreign >= replaced
    if mixed and unknown <= (1 - _FITS) * replaced:
        return _AS_WINDOWS
    return "replace" if foreign >= _WHOLE_PER_STRAY * replaced else ""


def _one_byte(error: UnicodeError) -> tuple[str, int]:
    """Decode a byte that is not UTF-8 as Windows-1252 if that gives a letter or punctuation, and no broken character.

    A byte that looks like the beginning of a UTF-8 character together with the next one is a broken character.
    """
    assert isinstance(error, UnicodeDecodeError)
    start, end = error.start, error.end
    byte = error.object[start:end]
    around = error.object[max(start - 1, 0) : start], error.object[end : end + 1]
    broken = byte in _HALVES or b"\x80" <= around[1] < b"\xc0" or (byte < b"\xc0" <= around[0])
    if len(byte) > 1 or broken or error.reason == "unexpected end of data":
        return "\ufffd", end
    char = byte.decode("cp1252", "replace")
    return char if char.isalpha() or char in _PUNCTUATION else "\ufffd", end


codecs.register_error(_AS_WINDOWS, _one_byte)


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


def _wide_script(sample: bytes) -> str | None:
    """Recognise UTF-16 of another script than Latin: nearly all its letters are of one script."""
    found: dict[str, int] = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(sample)
        except UnicodeDecodeError:
            continue
        names = (
            unicodedata.name(char, "").partition(" ")[0] for char in text if char.isalpha() and char > "\x7f"
        )
        scripts = Counter(_ONE_SCRIPT.get(name.partition("-")[0], name.partition("-")[0]) for name in names)
        total, _ = scripts.total(), scripts.pop("LATIN", 0)
        unknown = sum(unicodedata.category(char) in _NO_TEXT and not char.isspace() for char in text)
        if max(scripts.values(), default=0) >= max(_FITS * total, 1) and unknown < 0.01 * len(text):
            found[encoding] = sum(map(text.count, _COMMON_MARKS))
    best = max(found, key=lambda encoding: found[encoding], default=None)
    return best if best and found[best] else None


def _control_share(sample: bytes) -> float:
    controls = sum(sample.count(byte) for byte in range(32) if byte not in _TEXT_CONTROLS)
    return controls / max(len(sample), 1)


def _legacy_sample(chunks: Iterable[bytes]) -> tuple[bytes, bool]:
    """Return the text around the first byte beyond ASCII, and whether it is cut off at its end."""
    remaining = iter(chunks)
    for chunk in remaining:
        if high := _HIGH.search(chunk):
            start = max(high.start() - _NEAR, 0)
            around = (chunk[start:] + next(remaining, b""))[:_SAMPLE]
            return around, len(around) == _SAMPLE
    return b"", False


def _legacy_encoding(sample: bytes, cut: bool) -> str:
    if latin := _latin_encoding(sample):
        return latin
    if _looks_western(sample):
        return "cp1252"
    if _looks_hebrew(sample):
        return "cp1255"
    from charset_normalizer import from_bytes

    # A sample may end within a character, and then no encoding of such characters fits.
    last = len(sample)
    ends = ([end] if (end := _last_ascii(sample)) else range(last, last - 4, -1)) if cut else [last]
    found = [best for end in ends if (best := from_bytes(sample[:end]).best())]
    return min(found, key=lambda best: best.chaos).encoding if found else "cp1252"


def _last_ascii(sample: bytes) -> int:
    """Return the place behind the last byte of the sample that is never the second half of a character."""
    return max(sample.rfind(byte, -_NEAR) for byte in (b"\n", b"\r", b" ", b"\t")) + 1


def _declared_encoding(sample: bytes) -> str | None:
    """Return the encoding that markup names, if there is such a codec."""
    declared = _DECLARED.search(sample[:2048]) if sample.lstrip()[:1] == b"<" else None
    if not declared:
        return None
    name = declared[1].decode("ascii")
    # As on the web, Latin-1 means Windows-1252.
    name = "cp1252" if name.lower() in ("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii") else name
    try:
        sample.decode(name, "replace")
    except (LookupError, ValueError):
        return None
    return name


def _latin_encoding(sample: bytes) -> str | None:
    """Return the encoding in which the letters beyond ASCII are of one language's alphabet, or None."""
    high = Counter(byte for byte in sample if byte > 127)
    if high.total() > sum(map(sample.count, _ASCII_LETTERS)):
        return None
    within = Counter(b"".join(_WITHIN.findall(sample)))
    chosen, best = None, _FITS - _MARGIN
    for encoding in _LATIN_ENCODINGS:
        chars = {byte: bytes([byte]).decode(encoding, "replace") for byte in high}
        # Punctuation other than an apostrophe does not stand within a word.
        marks = sum(high[byte] - within[byte] for byte, char in chars.items() if char in _PUNCTUATION)
        marks += sum(within[byte] for byte, char in chars.items() if char in _IN_WORDS)
        letters = (
            sum(high[byte] for byte, char in chars.items() if char.lower() in each) for each in _ALPHABETS
        )
        share = (marks + max(letters)) / high.total()
        if share >= best + _MARGIN:
            chosen, best = encoding, share
    return chosen


def _looks_western(sample: bytes) -> bool:
    """Return whether there are few high bytes, most of them letters or punctuation in Windows-1252."""
    high = bytes(byte for byte in sample if byte > 127)
    likely = sum(char.isalpha() or char in _PUNCTUATION for char in high.decode("cp1252", "replace"))
    return len(high) < 0.25 * len(sample) and likely >= _FITS * len(high)


def _looks_hebrew(sample: bytes) -> bool:
    """Return whether all letters are of Hebrew, whose bytes are a part of those of small Cyrillic letters."""
    letters = [byte for byte in sample if byte >= _CYRILLIC]
    return len(set(letters)) >= _SOME_LETTERS and all(byte in _HEBREW for byte in letters)
