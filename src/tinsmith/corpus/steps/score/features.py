"""Measure features of a text that need no learning, each with a name and a meaning."""

from __future__ import annotations

import itertools
import re
import zlib
from collections import Counter

from tinsmith.corpus.steps.score.excerpt import windows

FEATURES = {
    "compressed": "bytes after compression per byte: low is repetition, high is noise",
    "sentences": "share of words in whole sentences",
    "sentence_words": "mean words per sentence",
    "letters": "letters per character without white space",
    "number_words": "share of words with a digit",
    "small_words": "share of words that begin with a small letter",
    "variety": "distinct words per word, in stretches of 200",
    "word_length": "mean characters per word",
    "odd_words": "share of words that mix letters and signs, or are single letters",
    "short_lines": "share of lines below 40 characters that do not end a sentence",
    "table_lines": "share of lines in columns or mainly of digits",
    "repeated_lines": "share of lines that repeat an earlier one",
    "joints": "share of articles followed by another article or a preposition (English)",
    "function_words": "share of function words (English)",
    "explanations": "words that explain, per hundred words (English)",
    "definitions": "phrases that define, per hundred words (English)",
    "navigation": "words of menus and notices, per hundred words (English)",
}
ENGLISH = ("joints", "function_words", "explanations", "definitions", "navigation")
_WORD = re.compile(r"\S+")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？।؟])[\"'”’)\]]*\s+")
_ENDS = (".", "!", "?", "。", "！", "？", "।", "؟")
_CLOSERS = "\"'”’)]»"
_OPENERS = "\"'“‘([«"
_ODD = re.compile(
    r"[^\W\d_][^\w\s'’.\-/&,:;()@]+[^\W\d_]|[^\W\d_]\d+[^\W\d_]|\d[^\W\d_]{2,}\d|[^\W\d_][|~^*=<>{}\\]"
)
_COLUMNS = re.compile(r"\S(?: {3,}|\t| \| ?)\S")
_JOINED = frozenset((
    "the", "a", "an", "of", "to", "in", "and", "or", "for", "with", "by", "from", "at", "as", "is",
))  # fmt: skip
_ARTICLES = frozenset((
    "the", "a", "an",
))  # fmt: skip
_FUNCTION = frozenset((
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on",
    "not", "he", "his", "but", "at", "are", "this", "have", "from", "or", "had", "an", "they", "which", "one",
    "you", "were", "her", "all", "she", "there", "would", "their", "we", "him", "been", "has", "when", "who",
    "will", "no", "more", "if", "out", "so", "what", "its", "about", "than", "them", "can", "only", "other",
    "into", "could", "these", "may", "must", "any", "such", "under", "shall", "those",
))  # fmt: skip
_EXPLAIN = frozenset((
    "because", "therefore", "thus", "hence", "since", "whereas", "although", "however", "example", "instance",
    "namely", "consequently", "means", "meaning", "explains", "explained", "reason", "reasons", "causes",
    "caused", "so", "if", "unless", "provided", "generally", "typically", "instead", "rather", "while",
    "although", "moreover", "furthermore", "accordingly", "thereby",
))  # fmt: skip
_DEFINE = re.compile(
    r"\b(?:means|is defined as|are defined as|refers to|is called|are called|is known as|are known as|is an? "
    r"|are the |consists of|that is,|in other words|for example)",
    re.I,
)
_MENU = frozenset((
    "home", "login", "logout", "signup", "register", "subscribe", "newsletter", "cookies", "click", "menu",
    "search", "sitemap", "next", "previous", "share", "tweet", "facebook", "twitter", "instagram", "cart",
    "checkout", "password", "download", "comments", "reply", "faq", "contact", "copyright", "reserved",
    "privacy", "skip", "sign",
))  # fmt: skip
_STRETCH = 200


def measure(text: str) -> dict[str, float]:
    """Return all FEATURES of a document by name, measured on its windows."""
    pieces = windows(text)
    excerpt = "\n".join(pieces)
    words = _WORD.findall(excerpt)
    if not words:
        return dict.fromkeys(FEATURES, 0.0)
    lines = [line.strip() for line in excerpt.split("\n") if line.strip()]
    data = [piece.encode("utf-8", "replace") for piece in pieces]
    size = max(1, sum(map(len, data)))
    inside, count = _sentences(excerpt)
    plain = [word.strip(_OPENERS + _CLOSERS + ".,;:!?").casefold() for word in words]
    return {
        "compressed": sum(len(zlib.compress(part, 6)) for part in data) / size,
        "sentences": inside / len(words),
        "sentence_words": inside / max(1, count),
        "letters": sum(map(str.isalpha, excerpt)) / max(1, sum(map(len, words))),
        "number_words": sum(any(map(str.isdigit, word)) for word in words) / len(words),
        "small_words": sum(word[0].islower() or _caseless(word[0]) for word in words) / len(words),
        "variety": _variety(plain),
        "word_length": min(20.0, sum(map(len, plain)) / len(plain)),
        "odd_words": _odd(words) / len(words),
        **_lines(lines),
        **_english(excerpt, plain),
    }


def _caseless(letter: str) -> bool:
    return letter.isalpha() and letter.lower() == letter.upper()


def _sentences(text: str) -> tuple[int, int]:
    """Return the number of words in sentences, and of sentences.

    A sentence begins with a capital (or a letter of a script without case), has at least five words and an end mark.
    A blank line ends a sentence, as after a heading.
    """
    inside = count = 0
    for block in re.split(r"\n\s*\n", text):
        for sentence in _SENTENCE_END.split(block):
            sentence = sentence.strip()
            size = len(sentence.split())
            first = sentence.lstrip(_OPENERS)[:1]
            ends = sentence.rstrip(_CLOSERS).endswith(_ENDS)
            if (
                ends
                and size >= 5
                and (first.isupper() or _caseless(first))
                and sentence.count("\n") <= size / 3
            ):
                inside += size
                count += 1
    return inside, count


def _variety(words: list[str]) -> float:
    stretches = [words[start : start + _STRETCH] for start in range(0, len(words), _STRETCH)]
    whole = [part for part in stretches if len(part) == _STRETCH] or stretches[:1]
    return sum(len(set(part)) / len(part) for part in whole) / len(whole)


def _odd(words: list[str]) -> int:
    odd = sum(bool(_ODD.search(word)) for word in words)
    single = sum(len(word) == 1 and word.isalpha() and word not in "aAIiOoyeYE" for word in words)
    return odd + single


def _lines(lines: list[str]) -> dict[str, float]:
    short = sum(len(line) < 40 and not line.rstrip(_CLOSERS).endswith(_ENDS) for line in lines)
    tables = sum(bool(_COLUMNS.search(line)) or _numeric(line) for line in lines)
    repeated = Counter(lines)
    return {
        "short_lines": short / len(lines),
        "table_lines": tables / len(lines),
        "repeated_lines": 1.0 - len(repeated) / len(lines),
    }


def _numeric(line: str) -> bool:
    return 2 * sum(character.isdigit() for character in line) > sum(not c.isspace() for c in line)


def _english(text: str, words: list[str]) -> dict[str, float]:
    counts = Counter(words)
    pairs = itertools.pairwise(words)
    wrong = sum(first in _ARTICLES and second in _JOINED for first, second in pairs)
    articles = sum(counts[word] for word in _ARTICLES)
    hundred = len(words) / 100
    return {
        "joints": wrong / max(5, articles),
        "function_words": sum(counts[word] for word in _FUNCTION) / len(words),
        "explanations": sum(counts[word] for word in _EXPLAIN) / hundred,
        "definitions": len(_DEFINE.findall(text)) / hundred,
        "navigation": sum(counts[word] for word in _MENU) / hundred,
    }
