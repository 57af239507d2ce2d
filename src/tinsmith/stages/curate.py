"""Keep the documents worth learning from, and say why each other one goes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.corpus import dedup, language, quality
from tinsmith.corpus.drop import Drop
from tinsmith.corpus.engine import DataType, Series, batch_function, col, from_arrow, read_parquet
from tinsmith.corpus.text import document_id, fold, repair
from tinsmith.foundation.errors import CorpusError, RecipeError
from tinsmith.foundation.files import write_jsonl
from tinsmith.foundation.forgotten import NOTHING, ForgottenSet
from tinsmith.foundation.progress import Progress
from tinsmith.recipe import CurateConfig

BATCH = 64  # documents judged between two words to the progress bar
# Every reason in the order in which the rules are asked: (step of the funnel, field of the recipe that causes
# it).
CAUSES = {
    "empty": ("repair", ""),
    "language_unsure": ("language", "min_language_probability"),
    "language": ("language", "languages"),
    **{reason: ("quality", field) for reason, field in quality.REASONS.items()},
    "exact_duplicate": ("duplicates", ""),
    "near_duplicate": ("duplicates", "near_duplicate_jaccard"),
}


class Row(NamedTuple):
    """What the decisions need to know of a document."""

    doc_id: str
    source: str
    bytes: int
    characters: int
    reason: str
    detail: str


def curate(
    config: CurateConfig,
    *,
    ingest: Path,
    seed: int,
    out: Path,
    progress: Progress,
    forgotten: ForgottenSet = NOTHING,
) -> dict[str, float]:
    """Repair, judge and deduplicate `ingest/documents.parquet`; write documents, rejects and funnel.

    The seed chooses MinHash's permutations. Raises CorpusError where nothing is left, RecipeError for an
    unknown language.
    """
    _check_languages(config)
    table = _examine(ingest / "documents.parquet", config, progress)
    rows = [Row(*values) for values in zip(*(table[name].to_pylist() for name in Row._fields), strict=True)]
    drops = {number: Drop(row.reason, row.detail) for number, row in enumerate(rows) if row.reason}
    clusters = _deduplicate(config, rows, table["folded"].to_pylist(), drops, seed, progress)
    kept = [number for number in range(len(rows)) if number not in drops]
    _write_tables(table, rows, drops, kept, clusters, out)
    ingested = sum(table["ingested_bytes"].to_pylist())
    funnel = _funnel(config, rows, drops, ingested)
    write_jsonl(out / "funnel.jsonl", funnel)
    if not kept:
        raise _nothing_left(config, rows, drops, out)
    sizes = Counter(clusters[number] for number in kept)
    return {
        "documents_ingested": len(rows),
        "bytes_ingested": ingested,
        "documents_repaired": sum(table["repaired"].to_pylist()),
        "documents_dropped": len(drops),
        "documents_kept": len(kept),
        "bytes_kept": sum(rows[number].bytes for number in kept),
        "clusters": len(sizes),
        "largest_cluster_documents": max(sizes.values()),
    }


def _check_languages(config: CurateConfig) -> None:
    unknown = sorted(set(config.languages) - set(language.known_languages())) if config.languages else []
    if unknown:
        known = ", ".join(language.known_languages())
        raise RecipeError(
            f"unknown language {', '.join(unknown)}",
            where="curate.languages",
            next_step=f"choose among {known}",
        )


def _examine(path: Path, config: CurateConfig, progress: Progress) -> pa.Table:
    """Return the ingested table with repaired text, new doc_id, language, verdict, folded words, sorted."""
    strings = ("text", "doc_id", "language", "reason", "detail", "folded")
    numbers = ("ingested_bytes", "bytes", "characters", "repaired")
    fields = {**dict.fromkeys(strings, DataType.string()), **dict.fromkeys(numbers, DataType.int64())}

    @batch_function(return_dtype=DataType.struct(fields), batch_size=BATCH)
    def examine(texts: Series) -> list[dict[str, str | int]]:
        return [_verdict(text or "", config) for text in texts.to_pylist()]

    frame = read_parquet(str(path))
    passed = [name for name in frame.column_names if name not in fields]
    frame = frame.with_column("verdict", examine(col("text")))
    frame = frame.select(*passed, *(col("verdict")[name].alias(name) for name in fields))
    batches = []
    with progress.task("judge", pq.read_metadata(path).num_rows, "documents") as advance:
        for batch in frame.to_arrow_iter():
            batches.append(batch)
            advance(batch.num_rows)
    if not sum(batch.num_rows for batch in batches):
        raise CorpusError(
            "no documents to curate",
            where=str(path),
            next_step="see files.jsonl beside it for why none was read",
        )
    table = pa.Table.from_batches(batches)
    # The engine may finish batches in any order: one order makes runs equal, and puts the smallest source
    # first.
    return table.sort_by([("doc_id", "ascending"), ("source", "ascending")]).combine_chunks()


def _verdict(ingested: str, config: CurateConfig) -> dict[str, str | int]:
    text = repair(ingested)
    code, probability = language.identify(text)
    drop = None
    if text.strip():
        drop = language.judge_language(code, probability, config)
    drop = drop or quality.judge(text, config) or Drop("", "")
    return {
        "text": text,
        "doc_id": document_id(text),
        "language": code if probability >= config.min_language_probability else language.UNSURE,
        "reason": drop.reason,
        "detail": drop.detail,
        "folded": " ".join(fold(text)),
        "ingested_bytes": len(ingested.encode()),
        "bytes": len(text.encode()),
        "characters": len(text),
        "repaired": int(text != ingested),
    }


def _deduplicate(
    config: CurateConfig,
    rows: list[Row],
    folded: list[str],
    drops: dict[int, Drop],
    seed: int,
    progress: Progress,
) -> dict[int, str]:
    """Add exact and near duplicates to `drops`; return the cluster of each doc_id's first row.

    Clusters are those of all texts, dropped ones included: a document's side of the split must not hang on
    thresholds.
    """
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        original = first.setdefault(row.doc_id, number)
        if original != number and number not in drops:
            drops[number] = Drop("exact_duplicate", rows[original].source)
    if config.cluster_jaccard == 1:
        return {number: rows[number].doc_id for number in first.values()}
    unique = sorted(first.values())
    with progress.task("compare", len(unique), "documents") as advance:
        frame = from_arrow(pa.table({"row": unique, "folded": [folded[number] for number in unique]}))
        buckets = dedup.find_buckets(frame, dedup.choose_banding(config.cluster_jaccard), seed)
        similarities = dedup.Similarities(
            dict(zip(unique, dedup.shingle_sets(folded[number] for number in unique)))
        )
        clusters = dedup.find_components(unique, buckets, similarities.reach(config.cluster_jaccard))
        if config.near_duplicate_jaccard < 1:
            similar = similarities.reach(config.near_duplicate_jaccard)
            passing = [number for number in unique if number not in drops]
            families = dedup.find_components(passing, buckets, similar)
            for number, stays in dedup.choose_kept(
                families, [row.characters for row in rows], similar
            ).items():
                if stays != number:
                    drops[number] = Drop("near_duplicate", rows[stays].doc_id)
        advance(len(unique))
    return {number: rows[smallest].doc_id for number, smallest in clusters.items()}


def _write_tables(
    table: pa.Table,
    rows: list[Row],
    drops: dict[int, Drop],
    kept: list[int],
    clusters: dict[int, str],
    out: Path,
) -> None:
    names = ["doc_id", "text", "source", "sha256", "mime", "licence", "language", "meta"]
    documents = table.select(names).take(pa.array(kept, pa.int64()))
    documents = documents.append_column(
        "cluster", pa.array([clusters[number] for number in kept], pa.string())
    )
    pq.write_table(documents, out / "documents.parquet", compression="zstd")
    gone = sorted(drops)
    rejects = table.select(["doc_id", "source", "text"]).take(pa.array(gone, pa.int64()))
    rejects = rejects.append_column(
        "reason", pa.array([drops[number].reason for number in gone], pa.string())
    )
    rejects = rejects.append_column(
        "detail", pa.array([drops[number].detail for number in gone], pa.string())
    )
    pq.write_table(
        rejects.select(["doc_id", "source", "reason", "detail", "text"]),
        out / "rejects.parquet",
        compression="zstd",
    )


def _funnel(
    config: CurateConfig, rows: list[Row], drops: dict[int, Drop], ingested: int
) -> list[dict[str, str | int]]:
    """Return the funnel's rows. Bytes are those of repaired text; what repair took is a row of its own."""
    total = sum(row.bytes for row in rows)
    documents = Counter(drop.reason for drop in drops.values())
    bytes_gone: Counter[str] = Counter()
    for number, drop in drops.items():
        bytes_gone[drop.reason] += rows[number].bytes
    idle = set() if config.languages else {"language_unsure", "language"}
    idle |= {"near_duplicate"} if config.near_duplicate_jaccard == 1 else set()
    return [
        _entry("ingested", "", len(rows), ingested),
        _entry("repair", "characters", 0, ingested - total),
        *(
            _entry(step, reason, documents[reason], bytes_gone[reason])
            for reason, (step, _) in CAUSES.items()
            if reason not in idle
        ),
        _entry("kept", "", len(rows) - documents.total(), total - bytes_gone.total()),
    ]


def _entry(step: str, reason: str, documents: int, size: int) -> dict[str, str | int]:
    return {"step": step, "reason": reason, "documents": documents, "bytes": size}


def _nothing_left(config: CurateConfig, rows: list[Row], drops: dict[int, Drop], out: Path) -> CorpusError:
    counts = Counter(drop.reason for drop in drops.values()).most_common()
    fields = [CAUSES[reason][1] for reason, _ in counts]
    settings = config.model_dump() | {"languages": ", ".join(config.languages)}
    loosen = ", ".join(f"curate.{name} (now {settings[name]})" for name in fields if name)
    by = ", ".join(f"{count} by {reason}" for reason, count in counts)
    advice = f"loosen {loosen}" if loosen else "name documents that hold text"
    return CorpusError(
        f"all {len(rows)} documents were dropped: {by}",
        where="curate",
        next_step=f"{advice}; each is listed in {out}/rejects.parquet",
    )
