"""Which texts of a run share words with a passage, and where."""

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
LEAST_WORDS = 2 * ANCHOR_WORDS - 1  # of a shared run: any as long holds a whole anchor
MOST_WORDS = 400  # of a passage that are searched for
_WORD = re.compile(r"[^\W_]+")
_BETWEEN = r"[^\pL\pN]+"


class Match(NamedTuple):
    """The longest run that a text shares with the passage: words, and characters from start to end."""

    words: int
    start: int
    end: int


def search(root: Path, passage: str) -> dict[str, Any]:
    """Return `{words, searched, documents}`: each document that shares a run, the longest first.

    A document is `{source, words, share, exact, found}`, `found` a row per table that has it: `stage, doc_id,
    became, detail, words, start, end`, offsets in characters of that table's text. Case, punctuation and
    white space do not count; runs below nine words count only where the passage is shorter.
    Raises RunError for a passage without a word.
    """
    words = fold(passage)[:MOST_WORDS]
    if not words:
        raise RunError(
            "holds no word to search for", where="trace", next_step="give some words of the passage"
        )
    anchors = _anchors(words)
    documents: dict[str, dict[str, Any]] = {}
    last = REFINED if (root / REFINED).is_file() else SPLIT
    for path in (INGESTED, REJECTED, last):
        for table in batches(root / path):
            for row in table.filter(matches_any(table["text"], anchors)).to_pylist():
                match = longest_run(row["text"], words)
                if match.words < min(len(words), LEAST_WORDS):
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
    """Return expressions of runs of words, one of which any long enough run of the passage holds."""
    starts = range(0, max(1, len(words) - ANCHOR_WORDS + 1), ANCHOR_WORDS)
    return [_BETWEEN.join(map(re.escape, words[start : start + ANCHOR_WORDS])) for start in starts]


def longest_run(text: str, words: list[str]) -> Match:
    """Return the longest run of a text's words that folded `words` hold too."""
    folded, spans = [], []
    for place in _WORD.finditer(text):
        for word in fold(unicodedata.normalize("NFKC", place[0])):
            folded.append(word)
            spans.append(place.span())
    found = SequenceMatcher(None, folded, words, autojunk=False).find_longest_match()
    if not found.size:
        return Match(0, 0, 0)
    return Match(found.size, spans[found.a][0], spans[found.a + found.size - 1][1])


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
