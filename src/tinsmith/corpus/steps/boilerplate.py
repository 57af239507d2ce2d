"""Keep paragraphs that many training documents repeat in one of them, and remove them from the others."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tinsmith.base.files import write_jsonl
from tinsmith.corpus.engine import DataFrame, DataType, Series, batch_function, col, read_parquet
from tinsmith.corpus.steps.result import StepInput, StepResult, write_decisions
from tinsmith.corpus.tables import Advance, TableWriter, iterate_ranges, text_bytes
from tinsmith.corpus.text.kernels import fold_words
from tinsmith.corpus.text.words import Hashes
from tinsmith.recipe import BoilerplateConfig

BATCH = 64
SHOWN = 1000  # paragraphs in the evidence, by bytes saved
OPENING = 200  # characters of a paragraph that the evidence quotes
_GAP = re.compile(r"\n[^\S\n]*\n\s*")
_NUMBERED = re.compile(r"[^\W_]*\d[^\W_]*")
_GROUPED_ROWS = 4_000_000  # paragraphs grouped at one time
_SEEN = pa.schema([("doc_id", pa.string()), ("paragraph", pa.uint64())])


class Paragraph(NamedTuple):
    """The offsets of a paragraph with the gap behind it, and its hash; 0 if it is too short."""

    start: int
    end: int
    hash: int


class Repeats(NamedTuple):
    """Sorted hashes of repeated paragraphs (N,), the number of their documents, and the doc_id that keeps each."""

    hashes: Hashes
    documents: NDArray[np.int64]
    keepers: NDArray[np.bytes_]

    def find(self, paragraph: int) -> int:
        """Return the index of a paragraph's hash, or -1 if it is not repeated."""
        index = int(np.searchsorted(self.hashes, np.uint64(paragraph)))
        return index if index < len(self.hashes) and self.hashes[index] == paragraph else -1


def split_paragraphs(text: str, config: BoilerplateConfig) -> list[Paragraph]:
    """Cut a text at its blank lines, or at its line ends if it has none, and hash paragraphs with enough words."""
    gap = _GAP if _GAP.search(text) else re.compile("\n+")
    edges = [0, *(found.end() for found in gap.finditer(text)), len(text)]
    return [Paragraph(a, b, _hash(text[a:b], config)) for a, b in itertools.pairwise(edges) if b > a]


def _hash(paragraph: str, config: BoilerplateConfig) -> int:
    if config.ignore_numbers:
        paragraph = _NUMBERED.sub("0", paragraph)
    words = fold_words(paragraph).hashes
    if len(words) < config.min_words:
        return 0
    return int.from_bytes(hashlib.blake2b(words.tobytes(), digest_size=8).digest(), "little")


def run(config: BoilerplateConfig, given: StepInput) -> StepResult:
    """Remove paragraphs that another document keeps; write `boilerplate.jsonl`.

    A repeated paragraph stays in the document with the smallest doc_id, so that one document of a family stays
    complete. A document that keeps one is not dropped for the paragraphs it lost.
    """
    documents, out = given.documents, given.out
    total = text_bytes(documents)
    with given.progress.task("find paragraphs", total, "bytes") as advance:
        seen = _collect(config, documents, out / ".paragraphs.parquet", advance)
    repeats = _repeats(seen, config.min_documents)
    seen.unlink()
    saved = np.zeros(len(repeats.hashes), dtype=np.int64)
    parts = _remove(config, documents, total, repeats, saved)
    decisions = write_decisions(out / "boilerplate.parquet", parts)
    shown = heapq.nsmallest(SHOWN, range(len(saved)), key=lambda number: (-saved[number], number))
    openings = _openings(config, documents, repeats, set(shown))
    write_jsonl(
        out / "boilerplate.jsonl",
        (
            {
                "opening": openings.get(number, ""),
                "documents": int(repeats.documents[number]),
                "bytes_saved": int(saved[number]),
                "kept_in": repeats.keepers[number].decode(),
            }
            for number in shown
        ),
    )
    statistics = {
        "paragraphs_repeated": float(len(repeats.hashes)),
        "bytes_saved": float(saved.sum()),
        "share_saved": float(saved.sum() / total) if total else 0.0,
    }
    return StepResult(statistics, decisions)


def _collect(config: BoilerplateConfig, documents: DataFrame, path: Path, advance: Advance) -> Path:
    """Write a row for each distinct paragraph of each document."""

    @batch_function(return_dtype=DataType.list(DataType.uint64()), batch_size=BATCH)
    def hashes(texts: Series) -> list[Hashes]:
        # As arrays, since the engine turns integers above 63 bits in a list into floats.
        return [_distinct(text, config) for text in texts.to_pylist()]

    rows = documents.select(
        "doc_id", col("text").length_bytes().alias("bytes"), hashes(col("text")).alias("found")
    )
    with TableWriter(path, _SEEN) as writer:
        for batch in rows.to_arrow_iter():
            lists = batch.column("found")
            owners = batch.column("doc_id").take(pc.list_parent_indices(lists))
            writer.add(pa.table({"doc_id": owners, "paragraph": pc.list_flatten(lists)}))
            advance(pc.sum(batch.column("bytes")).as_py() or 0)
    return path


def _distinct(text: str, config: BoilerplateConfig) -> Hashes:
    hashes = {each.hash for each in split_paragraphs(text, config)} - {0}
    return np.array(sorted(hashes), dtype=np.uint64)


def _repeats(path: Path, min_documents: int) -> Repeats:
    """Return the paragraphs in enough documents, grouped on the engine in ranges of the hash."""
    seen = read_parquet(str(path))
    count = -(-seen.count_rows() // _GROUPED_ROWS) or 1
    edges = [2**64 * number // count for number in range(count)] + [2**64 - 1]
    hashes, numbers, keepers = [], [], []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (col("paragraph") >= np.uint64(low)) & (col("paragraph") < np.uint64(high))
        part = seen if number == count - 1 == 0 else seen.where(inside)
        groups = part.groupby("paragraph").agg(
            col("doc_id").count().alias("documents"), col("doc_id").min().alias("kept_in")
        )
        table = groups.where(col("documents") >= min_documents).sort("paragraph").to_arrow()
        hashes.append(table["paragraph"].to_numpy().astype(np.uint64))
        numbers.append(table["documents"].to_numpy().astype(np.int64))
        keepers.append(np.array(table["kept_in"].to_pylist(), dtype="S32"))
    return Repeats(np.concatenate(hashes), np.concatenate(numbers), np.concatenate(keepers))


def _remove(
    config: BoilerplateConfig,
    documents: DataFrame,
    total: int,
    repeats: Repeats,
    saved: NDArray[np.int64],
) -> Iterator[pa.Table]:
    """Yield decisions in order of doc_id, and add the bytes that each paragraph saves to `saved`."""
    fields = {
        "text": DataType.string(),
        "detail": DataType.string(),
        "reason": DataType.string(),
        "removed": DataType.list(DataType.int64()),
        "sizes": DataType.list(DataType.int64()),
    }

    @batch_function(return_dtype=DataType.struct(fields), batch_size=BATCH)
    def reduce(ids: Series, texts: Series) -> list[dict[str, Any] | None]:
        pairs = zip(ids.to_pylist(), texts.to_pylist(), strict=True)
        return [_reduced(doc_id, text, config, repeats) for doc_id, text in pairs]

    for part in iterate_ranges(documents, total):
        decided = part.select("doc_id", reduce(col("doc_id"), col("text")).alias("found"))
        names = [col("found")[name].alias(name) for name in fields]
        table = decided.where(col("found").not_null()).select("doc_id", *names).to_arrow()
        numbers = table["removed"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        sizes = table["sizes"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        np.add.at(saved, numbers.astype(np.int64), sizes.astype(np.int64))
        yield table


def _reduced(doc_id: str, text: str, config: BoilerplateConfig, repeats: Repeats) -> dict[str, Any] | None:
    """Return the decision on a document, or None if no other document keeps a paragraph of it."""
    stay, removed, sizes, keeps = [], [], [], False
    for start, end, paragraph in split_paragraphs(text, config):
        number = repeats.find(paragraph) if paragraph else -1
        mine = number >= 0 and repeats.keepers[number] == doc_id.encode()
        keeps |= mine
        if number >= 0 and not mine:
            removed.append(number)
            sizes.append(len(text[start:end].encode()))
        else:
            stay.append(text[start:end])
    if not removed:
        return None
    left: str | None = "".join(stay).strip()
    words = len(fold_words(left or "").hashes)
    detail = f"{len(removed)} repeated paragraphs, {words} words left"
    reason = "boilerplate"
    if words < config.min_words_left and not keeps:
        left, reason = None, "mostly_boilerplate"
    return {"text": left, "detail": detail, "reason": reason, "removed": removed, "sizes": sizes}


def _openings(
    config: BoilerplateConfig, documents: DataFrame, repeats: Repeats, shown: set[int]
) -> dict[int, str]:
    """Return the openings of the shown paragraphs, from the documents that keep them."""
    keepers = {repeats.keepers[number].decode() for number in shown}

    @batch_function(return_dtype=DataType.list(DataType.string()), batch_size=BATCH)
    def quote(ids: Series, texts: Series) -> list[list[str]]:
        pairs = zip(ids.to_pylist(), texts.to_pylist(), strict=True)
        return [_quotes(doc_id, text) if doc_id in keepers else [] for doc_id, text in pairs]

    def _quotes(doc_id: str, text: str) -> list[str]:
        found: dict[int, str] = {}
        for start, end, paragraph in split_paragraphs(text, config):
            number = repeats.find(paragraph) if paragraph else -1
            if number in shown and repeats.keepers[number] == doc_id.encode():
                found.setdefault(number, " ".join(text[start:end].split())[:OPENING])
        return [f"{number} {opening}" for number, opening in found.items()]

    kept = documents.select(quote(col("doc_id"), col("text")).alias("quotes"))
    quotes = (
        each for batch in kept.to_arrow_iter() for row in batch.column("quotes").to_pylist() for each in row
    )
    return {int(number): opening for number, _, opening in (each.partition(" ") for each in quotes)}
