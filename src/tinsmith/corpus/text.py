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
_WORD = re.compile(r"[^\W_]+")
_REMEMBERED = 1_000_000  # words; a corpus of numbers and names has no end of them
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def repair(text: str) -> str:
    """Undo mojibake (ftfy), make line ends \\n, remove control and invisible characters, compose to NFC."""
    if text.isascii() and not _SUSPECT_ASCII.search(text):
        return text
    from tinsmith.corpus.survey import survey  # loaded when first needed: it compiles

    seen = survey(text)
    if seen.is_plain:
        return text
    # ftfy judges line by line too, so the lines in which nothing can be wrong are spared.
    odd = re.compile("[^\t\n\x20-\x7e]" if seen.doubtful else f"[{re.escape(seen.unusual)}]")
    lines = _LINE_ENDS.sub("\n", text).split("\n")
    text = "\n".join(_repair_line(line) if odd.search(line) else line for line in lines)
    text = _CONTROLS.sub("", text).replace(_SOFT_HYPHEN, "")
    return unicodedata.normalize("NFC", strip_invisible(text))


def lowered(text: str) -> str:
    """Return a text in lower case, letter for letter: places in it are places in the text."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _repair_line(line: str) -> str:
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
