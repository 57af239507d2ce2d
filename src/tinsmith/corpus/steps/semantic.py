"""Drop documents that say the same in other words, by latent semantic analysis (Deerwester et al. 1990).

Documents become vectors of their weighted words, reduced to the directions in which words occur together. The
directions are learnt from the training documents themselves, without a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import DataFrame, col
from tinsmith.corpus.steps.result import DECISIONS, StepInput, StepResult, write_decisions
from tinsmith.corpus.tables import Advance, iterate_ranges, text_bytes
from tinsmith.corpus.text.kernels import fold_words
from tinsmith.recipe import SemanticConfig

SHOWN = 1000  # pairs in the evidence, the least similar first, since those are the doubtful ones
OPENING = 200  # characters of a document that the evidence quotes
_BUCKETS = 1 << 18  # of hashed words
_DIMENSIONS = 128
_SAMPLE = 20_000  # documents from which directions are learnt, drawn by seed
_BLOCK = 2048  # documents compared with all kept ones at one time
_BATCH = 256

Vectors = NDArray[np.float32]


class _Pair(NamedTuple):
    similarity: float
    dropped: str
    kept: str


def run(config: SemanticConfig, given: StepInput) -> StepResult:
    """Drop each document whose cosine with a kept one reaches `max_similarity`; write `pairs.jsonl`.

    Documents are processed from the longest on, and dropped only for a kept one. So no chain of similar documents
    removes one that is similar to no kept one. Memory: 512 bytes per document, and a batch.
    """
    documents, out, progress = given.documents, given.out, given.progress
    total = text_bytes(documents)
    ids, sizes, vectors = _embed(documents, total, given.seed, progress)
    order = sorted(range(len(ids)), key=lambda row: (-sizes[row], ids[row]))
    dropped = _compare(vectors, order, config.max_similarity, progress)
    pairs = sorted(_Pair(similarity, ids[row], ids[kept]) for row, (kept, similarity) in dropped.items())
    decisions = write_decisions(out / "semantic.parquet", _decisions(documents, total, pairs))
    openings = _openings(documents, {each for pair in pairs[:SHOWN] for each in pair[1:]})
    write_jsonl(
        out / "pairs.jsonl",
        (
            {
                "doc_id": pair.dropped,
                "kept": pair.kept,
                "similarity": pair.similarity,
                "opening": openings[pair.dropped],
                "kept_opening": openings[pair.kept],
            }
            for pair in pairs[:SHOWN]
        ),
    )
    statistics = {"documents_compared": float(len(ids)), "documents_alike": float(len(pairs))}
    return StepResult(statistics, decisions)


def _embed(
    documents: DataFrame, total: int, seed: int, progress: Progress
) -> tuple[list[str], list[int], Vectors]:
    """Return ids, sizes in bytes and unit vectors (N, D) of all documents, in order of doc_id.

    The first pass counts the documents of each word and keeps a sample; the second projects.
    """
    count = documents.count_rows()
    draw = np.random.default_rng(seed)
    chosen = np.sort(draw.choice(count, min(count, _SAMPLE), replace=False))
    frequency = np.zeros(_BUCKETS, dtype=np.int64)
    sample: list[csr_matrix] = []
    row = 0
    with progress.task("count words", total, "bytes") as advance:
        for _, texts, words in _counted(documents, total, advance):
            frequency += np.bincount(words.indices, minlength=_BUCKETS)
            inside = chosen[(chosen >= row) & (chosen < row + len(texts))] - row
            sample.append(words[inside])
            row += len(texts)
    # Words in a single document, or in all of them, say nothing about similarity.
    weights = np.where(frequency > 1, np.log((1 + count) / (1 + frequency)), 0).astype(np.float32)
    directions = _directions(sample, weights, seed)
    ids, sizes, vectors = [], [], []
    with progress.task("embed documents", total, "bytes") as advance:
        for names, texts, words in _counted(documents, total, advance):
            ids += names
            sizes += [len(text.encode()) for text in texts]
            vectors.append(_unit(_weighted(words, weights) @ directions))
    return ids, sizes, np.concatenate(vectors) if vectors else np.zeros((0, 1), dtype=np.float32)


def _counted(
    documents: DataFrame, total: int, advance: Advance
) -> Iterator[tuple[list[str], list[str], csr_matrix]]:
    """Yield batches of ids, texts and counts of words (B, _BUCKETS), in order of doc_id."""
    for part in iterate_ranges(documents, total):
        for batch in part.select("doc_id", "text").sort("doc_id").to_arrow_iter():
            for start in range(0, batch.num_rows, _BATCH):
                rows = batch.slice(start, _BATCH)
                texts = rows.column("text").to_pylist()
                yield rows.column("doc_id").to_pylist(), texts, _counts(texts)
                advance(sum(len(text.encode()) for text in texts))


def _counts(texts: list[str]) -> csr_matrix:
    columns, counts, ends = [], [], [0]
    for text in texts:
        buckets, times = np.unique(fold_words(text).hashes % _BUCKETS, return_counts=True)
        columns.append(buckets.astype(np.int32))
        counts.append(times.astype(np.float32))
        ends.append(ends[-1] + len(buckets))
    return csr_matrix((np.concatenate(counts), np.concatenate(columns), ends), shape=(len(texts), _BUCKETS))


def _weighted(words: csr_matrix, weights: NDArray[np.float32]) -> csr_matrix:
    """Weight the logarithms of counts by how rare their words are."""
    result = words.copy()
    result.data = (1 + np.log(words.data)) * weights[words.indices]
    return result


def _directions(sample: list[csr_matrix], weights: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return the directions (_BUCKETS, D) along which the sample's unit rows vary most."""
    from scipy.sparse import vstack
    from sklearn.preprocessing import normalize
    from sklearn.utils.extmath import randomized_svd

    rows = normalize(_weighted(vstack(sample, format="csr"), weights))
    size = max(1, min(_DIMENSIONS, rows.shape[0]))
    _, _, found = randomized_svd(rows, size, random_state=seed)
    return np.ascontiguousarray(found.T, dtype=np.float32)


def _unit(rows: Vectors) -> Vectors:
    """Scale rows to length one; a zero row stays zero and is similar to nothing."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(length, 1e-12)).astype(np.float32)


def _compare(
    vectors: Vectors, order: list[int], least: float, progress: Progress
) -> dict[int, tuple[int, float]]:
    """Return each dropped row, with the most similar kept row and their cosine."""
    dropped: dict[int, tuple[int, float]] = {}
    kept = np.zeros_like(vectors)
    names: list[int] = []
    with progress.task("compare documents", len(order), "documents") as advance:
        for start in range(0, len(order), _BLOCK):
            block = order[start : start + _BLOCK]
            rows = vectors[block]
            before = rows @ kept[: len(names)].T
            within = rows @ rows.T
            stays: list[int] = []  # indices in the block
            for index, row in enumerate(block):
                best = (
                    _best(before[index], names),
                    _best(within[index, stays], [block[each] for each in stays]),
                )
                near, similarity = max(best, key=lambda pair: pair[1])
                if similarity >= least:
                    dropped[row] = near, round(float(similarity), 4)
                else:
                    stays.append(index)
            kept[len(names) : len(names) + len(stays)] = rows[stays]
            names += [block[each] for each in stays]
            advance(len(block))
    return dropped


def _best(similarities: NDArray[np.float32], names: list[int]) -> tuple[int, float]:
    if not len(similarities):
        return -1, -1.0
    best = int(np.argmax(similarities))
    return names[best], float(similarities[best])


def _decisions(documents: DataFrame, total: int, pairs: list[_Pair]) -> Iterator[pa.Table]:
    details = {pair.dropped: f"{pair.similarity:.2f} alike to {pair.kept}" for pair in pairs}
    for part in iterate_ranges(documents, total):
        ids = [name for name in part.select("doc_id").to_pydict()["doc_id"] if name in details]
        rows = [
            {"doc_id": name, "reason": "semantic_duplicate", "detail": details[name], "text": None}
            for name in ids
        ]
        yield pa.Table.from_pylist(rows, schema=DECISIONS)


def _openings(documents: DataFrame, wanted: set[str]) -> dict[str, str]:
    if not wanted:
        return {}
    rows = documents.where(col("doc_id").is_in(sorted(wanted))).select(
        "doc_id", col("text").left(OPENING).alias("opening")
    )
    found = rows.to_pydict()
    return dict(zip(found["doc_id"], found["opening"], strict=True))
