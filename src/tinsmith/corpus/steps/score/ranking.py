"""Keep the documents with the best scores, and write what lets a person check the score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.engine import DataFrame, DataType, Series, batch_function, col
from tinsmith.corpus.steps.result import DECISIONS, StepResult
from tinsmith.corpus.steps.score.excerpt import shorten

Scorer = Callable[[str, str], float]  # text, language -> 0 to 1
Reasons = Callable[[str, str], list[tuple[str, float]]]  # what moved the score, strongest first
REASON = "low_score"
_BATCH = 64
_EXAMPLES = 5  # of the best, the middle and the worst
_BINS = 20
_DIGITS = 6  # of a score; further ones depend on the order of summation


def keep_best(
    documents: DataFrame, scorer: Scorer, reasons: Reasons, *, keep: float, out: Path, progress: Progress
) -> StepResult:
    """Score all documents and keep the best; write scores, examples, histogram and decisions.

    `keep` is a share of documents, rounded to the nearest count and at least one. Of equal scores the smallest
    doc_id is kept.
    """
    table = _scores(documents, scorer, progress)
    stay = min(len(table), max(1, int(keep * len(table) + 0.5)))
    scores = table["score"].to_numpy()
    threshold = float(scores[stay - 1]) if stay else 0.0
    _write_decisions(table.slice(stay), threshold, out / "decisions.parquet")
    write_jsonl(out / "score_examples.jsonl", _examples(documents, table, stay, reasons))
    write_jsonl(out / "score_histogram.jsonl", _histogram(scores, stay))
    pq.write_table(
        table.select(["doc_id", "score"]).sort_by("doc_id"), out / "scores.parquet", compression="zstd"
    )
    sizes = table["bytes"].to_numpy()
    statistics = {
        "documents": len(table),
        "kept": stay,
        "dropped": len(table) - stay,
        "threshold": threshold,
        "median": float(np.median(scores)) if len(table) else 0.0,
        "bytes_kept_share": float(sizes[:stay].sum() / max(1, sizes.sum())),
    }
    return StepResult(statistics, out / "decisions.parquet")


def _scores(documents: DataFrame, scorer: Scorer, progress: Progress) -> pa.Table:
    """Return doc_id, score and bytes of all documents, the best first, ties by doc_id."""
    fields = {"score": DataType.float64(), "bytes": DataType.int64()}

    @batch_function(return_dtype=DataType.struct(fields), batch_size=_BATCH)
    def score(texts: Series, languages: Series) -> list[dict[str, float]]:
        pairs = zip(texts.to_pylist(), languages.to_pylist(), strict=True)
        return [
            {"score": round(scorer(text or "", language or ""), _DIGITS), "bytes": len((text or "").encode())}
            for text, language in pairs
        ]

    frame = documents.select("doc_id", score(col("text"), col("language")).alias("scored"))
    frame = frame.select("doc_id", *(col("scored")[name].alias(name) for name in fields))
    schema = pa.schema([("doc_id", pa.string()), ("score", pa.float64()), ("bytes", pa.int64())])
    batches = []
    with progress.task("score", None, "documents") as advance:
        for batch in frame.to_arrow_iter():
            batches.append(pa.Table.from_batches([batch]).cast(schema))
            advance(batch.num_rows)
    table = pa.concat_tables(batches) if batches else schema.empty_table()
    return table.sort_by([("score", "descending"), ("doc_id", "ascending")])


def _write_decisions(dropped: pa.Table, threshold: float, path: Path) -> None:
    dropped = dropped.sort_by("doc_id")
    details = [f"score {score:.4f}, below {threshold:.4f}" for score in dropped["score"].to_pylist()]
    columns = [
        dropped["doc_id"],
        pa.array([REASON] * len(dropped), pa.string()),
        pa.array(details, pa.string()),
        pa.nulls(len(dropped), pa.string()),
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=DECISIONS), path, compression="zstd")


def _examples(documents: DataFrame, table: pa.Table, stay: int, reasons: Reasons) -> list[dict[str, object]]:
    """Return rows of the best, middle and worst documents, in this order; no document twice."""
    total = len(table)
    middle = max(0, (total - _EXAMPLES) // 2)
    groups = {
        "best": range(min(_EXAMPLES, total)),
        "median": range(middle, min(total, middle + _EXAMPLES)),
        "worst": range(max(0, total - _EXAMPLES), total),
    }
    chosen: dict[int, str] = {}
    for group, ranks in groups.items():
        chosen |= {rank: group for rank in ranks if rank not in chosen}
    ids, scores = table["doc_id"], table["score"]
    wanted = [ids[rank].as_py() for rank in chosen]
    names = ["doc_id", "source", "language", "text"]
    found = documents.where(col("doc_id").is_in(wanted)).select(*names).to_pydict()
    rows = {row[0]: row for row in zip(*(found[name] for name in names), strict=True)}
    examples = []
    for rank, group in chosen.items():
        doc_id, source, language, text = rows[ids[rank].as_py()]
        why = [
            {"what": what, "amount": round(amount, 4)} for what, amount in reasons(text or "", language or "")
        ]
        examples.append(
            {
                "group": group,
                "rank": rank + 1,
                "doc_id": doc_id,
                "source": source,
                "score": scores[rank].as_py(),
                "kept": rank < stay,
                "text": shorten(text or ""),
                "why": why,
            }
        )
    return examples


def _histogram(scores: np.ndarray, stay: int) -> list[dict[str, float]]:
    """Count all documents, and the kept ones, in each twentieth of the scale."""
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    every, kept = (np.histogram(part, edges)[0].tolist() for part in (scores, scores[:stay]))
    return [
        {"low": round(low, 2), "high": round(high, 2), "documents": count, "kept": held}
        for low, high, count, held in zip(edges[:-1].tolist(), edges[1:].tolist(), every, kept, strict=True)
    ]
