"""Search the texts of a run for word sequences of a passage."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

from tinsmith.base.errors import RunError
from tinsmith.corpus.text.words import fold
from tinsmith.lineage.tables import INGESTED, REFINED, REJECTED, SPLIT, batches, made_from, matches_any

ANCHOR_WORDS = 5
MIN_WORDS = 2 * ANCHOR_WORDS - 1  # of a shared run, which then contains a whole anchor
MAX_WORDS = 400  # of a passage that are searched for
_WORD = re.compile(r"[^\W_]+")
_BETWEEN = r"[^\pL\pN]+"


class Match(NamedTuple):
    """The longest run of words that a text shares with the passage: its length, and its characters [start, end)."""

    words: int
    start: int
    end: int


def search(root: Path, passage: str) -> dict[str, Any]:
    """Return `{words, searched, documents}`: the documents that share a run of words, longest run first.

    A document is `{source, words, share, exact, found}`; `found` has a row per table with it: `stage, doc_id,
    became, detail, words, start, end`, offsets in characters of that table's text. Case, punctuation and white
    space are ignored; runs of fewer than nine words count only if the passage is shorter.
    Raises RunError for a passage without words.
    """
    words = fold(passage)[:MAX_WORDS]
    if not words:
        raise RunError("the passage has no words", where="trace", next_step="give some words of the passage")
    anchors = _anchors(words)
    documents: dict[str, dict[str, Any]] = {}
    last = REFINED if (root / REFINED).is_file() else SPLIT
    for path in (INGESTED, REJECTED, last):
        for table in batches(root / path):
            for row in table.filter(matches_any(table["text"], anchors)).to_pylist():
                match = longest_run(row["text"], words)
                if match.words < min(len(words), MIN_WORDS):
                    continue
                entry = documents.setdefault(
                    row["source"], {"source": row["source"], "words": 0, "found": []}
                )
                entry["words"] = max(entry["words"], match.words)
                entry["found"].append(_found(path, row, match))
    ranked = sorted(documents.values(), key=lambda entry: (-entry["words"], entry["source"]))
    for entry in ranked:
        entry["share"], entry["exact"] = round(entry["words"] / len(words), 4), entry["words"] == len(words)
    return {"words": len(fold(passage)), "searched": len(words), "documents": ranked}


def _anchors(words: list[str]) -> list[str]:
    """Return patterns of consecutive words, so that any long enough run of the passage contains one."""
    starts = range(0, max(1, len(words) - ANCHOR_WORDS + 1), ANCHOR_WORDS)
    return [_BETWEEN.join(map(re.escape, words[start : start + ANCHOR_WORDS])) for start in starts]


def longest_run(text: str, words: list[str]) -> Match:
    """Return the longest run of a text's words that is also in the folded `words`."""
    folded, spans = [], []
    for match in _WORD.finditer(text):
        for word in fold(unicodedata.normalize("NFKC", match[0])):
            folded.append(word)
            spans.append(match.span())
    longest = SequenceMatcher(None, folded, words, autojunk=False).find_longest_match()
    if not longest.size:
        return Match(0, 0, 0)
    return Match(longest.size, spans[longest.a][0], spans[longest.a + longest.size - 1][1])


def _found(path: Path, row: dict[str, Any], match: Match) -> dict[str, Any]:
    became, detail = "ingested", ""
    if path == REJECTED:
        became, detail = f"rejected: {row['reason']}", row["detail"]
    elif path != INGESTED:
        origin = made_from(row)
        became, detail = ("synthetic", "from " + ", ".join(origin)) if origin else (row["part"], "")
    return {
        "stage": path.parts[0],
        "doc_id": row["doc_id"],
        "became": became,
        "detail": detail,
        **match._asdict(),
    }
