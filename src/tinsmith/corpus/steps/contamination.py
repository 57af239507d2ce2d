"""Find text of evaluation files and held-out documents in training text, by shared n-grams.

The default of 13 words is that of GPT-3's study (Brown et al. 2020, appendix C). Case, punctuation and white space
are ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tinsmith.base.files import write_json, write_jsonl
from tinsmith.corpus.engine import DataFrame, DataType, Series, batch_function, col
from tinsmith.corpus.evaluation_files import EvaluationItem, read_items
from tinsmith.corpus.steps.result import StepInput, StepResult, write_decisions
from tinsmith.corpus.tables import iterate_ranges, text_bytes
from tinsmith.corpus.text.kernels import fold_words, hash_ngrams
from tinsmith.corpus.text.word_offsets import locate_words
from tinsmith.corpus.text.words import Hashes
from tinsmith.recipe import ContaminationConfig

HELD_OUT = "held-out part"
_BATCH = 64
_QUOTED = 300  # characters of a passage that the evidence quotes
_ROUNDS = 8  # of cutting, since joining what is left may form a new shared n-gram
_FOUND = {
    "text": DataType.string(),
    "reason": DataType.string(),
    "detail": DataType.string(),
    "before": DataType.int64(),
    "after": DataType.int64(),
    "runs": DataType.list(
        DataType.struct({"item": DataType.int64(), "words": DataType.int64(), "passage": DataType.string()})
    ),
}


class NgramIndex(NamedTuple):
    """Sorted hashes of evaluation n-grams (N,), the index of the item of each, and all items."""

    hashes: Hashes
    owners: NDArray[np.int64]
    items: list[tuple[str, str]]  # file, item
    short: Counter[str]  # items by file that are shorter than an n-gram, and so cannot be found

    def find(self, grams: Hashes) -> NDArray[np.int64]:
        """Return the item of each n-gram (G,), or -1."""
        places = np.searchsorted(self.hashes, grams)
        places[places == len(self.hashes)] = 0
        known = self.hashes[places] == grams if len(self.hashes) else np.zeros(len(grams), np.bool_)
        return np.where(known, self.owners[places] if len(self.hashes) else -1, -1)


class SharedPassage(NamedTuple):
    """A passage of a training text that is evaluation text too: offsets, words, and the item of its first n-gram."""

    start: int
    end: int
    words: int
    item: int


def run(config: ContaminationConfig, given: StepInput) -> StepResult:
    """Report evaluation text in training text, and cut it out or drop its documents as the recipe says.

    Writes `overlaps.jsonl`, a row per passage, and `counts.json` with the n-grams found before and after. Raises
    CorpusError for an evaluation file that is missing or cannot be read.
    """
    documents, out = given.documents, given.out
    out.mkdir(parents=True, exist_ok=True)
    index = build_index(_items(config, given.held_out), config.words)
    totals: Counter[str] = Counter()
    seen: set[int] = set()
    rows: list[dict[str, Any]] = []
    total = text_bytes(documents)

    def parts() -> Iterator[pa.Table]:
        with given.progress.task("overlap", None, "documents") as advance:
            for part in iterate_ranges(documents, total):
                table = _decide_part(config, part, index)
                for row in table.select(["doc_id", "before", "after", "runs"]).sort_by("doc_id").to_pylist():
                    totals.update(before=row["before"], after=row["after"], documents=1)
                    for found in row["runs"]:
                        seen.add(found["item"])
                        file, item = index.items[found["item"]]
                        shared = {"file": file, "item": item} | {
                            key: found[key] for key in ("words", "passage")
                        }
                        rows.append({"doc_id": row["doc_id"], **shared})
                advance(len(table))
                yield table.filter(pc.not_equal(table["reason"], ""))

    decisions = write_decisions(out / "contamination.parquet", parts())
    write_jsonl(out / "overlaps.jsonl", rows)
    counts = _counts(config, index, totals, seen, len(rows))
    write_json(out / "counts.json", counts)
    names = ("before", "after", "documents", "passages", "items", "items_found")
    return StepResult({name: float(counts[name]) for name in names}, decisions)


def _items(config: ContaminationConfig, held_out: DataFrame) -> Iterator[EvaluationItem]:
    yield from read_items(config.files)
    if config.held_out:
        for batch in held_out.select("doc_id", "text").to_arrow_iter():
            for row in batch.to_pylist():
                yield EvaluationItem(HELD_OUT, row["doc_id"], row["text"])


def build_index(items: Iterable[EvaluationItem], words: int) -> NgramIndex:
    """NgramIndex all n-grams of the items; an n-gram in several items belongs to the first."""
    hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    names: list[tuple[str, str]] = []
    short: Counter[str] = Counter()
    for item in items:
        grams = np.unique(hash_ngrams(fold_words(item.text).hashes, words))
        if not len(grams):
            short[item.file] += 1
        hashes.append(grams)
        owners.append(np.full(len(grams), len(names), np.int64))
        names.append((item.file, item.name))
    every, first = np.unique(np.concatenate(hashes), return_index=True)
    return NgramIndex(every, np.concatenate(owners)[first], names, short)


def find_passages(text: str, index: NgramIndex, words: int) -> tuple[list[SharedPassage], int]:
    """Return the passages of a text that are evaluation text too, in order, and the number of shared n-grams."""
    found = locate_words(text)
    items = index.find(hash_ngrams(found.hashes, words))
    hits = np.flatnonzero(items >= 0)
    passages: list[SharedPassage] = []
    for first, last in _merge(hits, words):
        start, end = int(found.starts[first]), int(found.ends[last + words - 1])
        passages.append(SharedPassage(start, end, int(last + words - first), int(items[first])))
    return passages, len(hits)


def _merge(hits: NDArray[np.int64], words: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last n-gram of each passage; passages whose words touch are joined."""
    edges = np.flatnonzero(np.diff(hits) > words) + 1
    for inside in np.split(hits, edges):
        if len(inside):
            yield int(inside[0]), int(inside[-1])


def _decide_part(config: ContaminationConfig, part: DataFrame, index: NgramIndex) -> pa.Table:
    @batch_function(return_dtype=DataType.struct(_FOUND), batch_size=_BATCH)
    def decide(texts: Series) -> list[dict[str, Any] | None]:
        return [_decide(text, config, index) for text in texts.to_pylist()]

    decided = part.select("doc_id", decide(col("text")).alias("found")).where(col("found").not_null())
    return decided.select("doc_id", *(col("found")[name].alias(name) for name in _FOUND)).to_arrow()


def _decide(text: str, config: ContaminationConfig, index: NgramIndex) -> dict[str, Any] | None:
    passages, before = find_passages(text, index, config.words)
    if not passages:
        return None
    shown = [
        {
            "item": passage.item,
            "words": passage.words,
            "passage": " ".join(text[passage.start : passage.end].split())[:_QUOTED],
        }
        for passage in passages
    ]
    found = {"text": None, "reason": "", "detail": "", "before": before, "after": before, "runs": shown}
    file, item = index.items[passages[0].item]
    detail = f"{len(passages)} passages, the first of {file}, {item}"
    if config.action == "document":
        return found | {"reason": "contaminated", "detail": detail, "after": 0}
    if config.action == "passage":
        left, after = _cut(text, passages, config, index)
        words = len(fold_words(left).hashes)
        if words < config.min_words_left:
            return found | {
                "reason": "mostly_contaminated",
                "detail": f"{words} words left; {detail}",
                "after": 0,
            }
        return found | {"reason": "contamination", "detail": detail, "text": left, "after": after}
    return found


def _cut(
    text: str, passages: list[SharedPassage], config: ContaminationConfig, index: NgramIndex
) -> tuple[str, int]:
    """Return the text without the passages, and the shared n-grams left in it, almost always 0."""
    count = len(passages)
    for _ in range(_ROUNDS):
        for passage in reversed(passages):
            text = f"{text[: passage.start].rstrip()}\n\n{text[passage.end :].lstrip()}"
        text = text.strip()
        passages, count = find_passages(text, index, config.words)
        if not passages:
            break
    return text, count


def _counts(
    config: ContaminationConfig, index: NgramIndex, totals: Counter[str], seen: set[int], passages: int
) -> dict[str, Any]:
    items, found = (
        Counter(file for file, _ in index.items),
        Counter(index.items[number][0] for number in seen),
    )
    return {
        "words": config.words,
        "action": config.action,
        "before": totals["before"],
        "after": totals["after"],
        "documents": totals["documents"],
        "passages": passages,
        "items": items.total(),
        "items_found": found.total(),
        "files": [
            {"file": file, "items": items[file], "found": found[file], "too_short": index.short[file]}
            for file in sorted(items)
        ],
    }
