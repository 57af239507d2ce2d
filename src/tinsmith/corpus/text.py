"""Text made whole, and text seen as words: repair, identity, folded words, n-gram hashes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import ftfy
import numpy as np
from numpy.typing import NDArray

from tinsmith.corpus.hidden import strip_invisible

Hashes = NDArray[np.uint64]

# Typographic quotes, full-width forms and HTML entities are no damage: an author may have meant them.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False, uncurl_quotes=False, fix_character_width=False, normalization="NFC", explain=False
)
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_SOFT_HYPHEN = "\u00ad"
_SUSPECT_ASCII = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
# Signs that begin no UTF-8 sequence of two signs, or end none, in any encoding that ftfy knows: a text of these and
# ASCII was never decoded wrongly, unless one of the first kind stands before one of the second, as in Mac OS Roman.
_OPENERS, _CLOSERS = "\u201c\u201d\u2018\u2019\u2013\u2014\u2026\u00a0", "\u00a7\u2022\u00a9\u00ae\u2122"
_PLAIN = re.compile(f"[\t\n\x20-\x7e{_OPENERS}{_CLOSERS}]*")
_AMBIGUOUS = re.compile(f"[{_OPENERS}][{_CLOSERS}]")
_WORD = re.compile(r"[^\W_]+")
_REMEMBERED = 1_000_000  # words; a corpus of numbers and names has no end of them
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def repair(text: str) -> str:
    """Undo mojibake (ftfy), make line ends \\n, remove control and invisible characters, compose to NFC."""
    if _is_plain(text):
        return text
    # ftfy judges line by line too, so the lines in which nothing can be wrong are spared.
    text = "\n".join(map(_repair_line, _LINE_ENDS.sub("\n", text).split("\n")))
    text = _CONTROLS.sub("", text).replace(_SOFT_HYPHEN, "")
    return unicodedata.normalize("NFC", strip_invisible(text))


def lowered(text: str) -> str:
    """Return a text in lower case, letter for letter: places in it are places in the text."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _is_plain(text: str) -> bool:
    if text.isascii():
        return not _SUSPECT_ASCII.search(text)
    return bool(_PLAIN.fullmatch(text)) and not _AMBIGUOUS.search(text)


def _repair_line(line: str) -> str:
    if _is_plain(line):
        return line
    return _LINE_ENDS.sub("\n", ftfy.fix_text(line, _FTFY))


def document_id(text: str) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def fold(text: str) -> list[str]:
    """Return a text's words for comparison: case, compatibility forms and punctuation do not count."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


class WordHasher(dict[str, int]):
    """Map words to 64-bit numbers that depend on the word alone, remembering a million of those already seen."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        number = int.from_bytes(
            hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
        )
        self[word] = number
        return number

    def hash_words(self, words: Sequence[str]) -> Hashes:
        """Return one hash per word (N,)."""
        return np.fromiter(map(self.__getitem__, words), dtype=np.uint64, count=len(words))


def hash_ngrams(words: Hashes, n: int) -> Hashes:
    """Return a hash of each run of n words, (N - n + 1,), from hashes of words (N,); empty where N < n."""
    count = max(0, len(words) - n + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for k in range(n if count else 0):
        hashes = hashes * MULTIPLIER + words[k : k + count]
    return hashes
