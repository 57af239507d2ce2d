"""Filter documents, find duplicates, and write what is kept and why the rest is dropped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tinsmith.base.erasure import NOTHING, ErasureList
from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import read_jsonl, write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.dedup.exact import ExactDedup
from tinsmith.corpus.dedup.families import Decision
from tinsmith.corpus.dedup.search import find_families
from tinsmith.corpus.document_filter import RESULT, DocumentFilter, IngestedDocument
from tinsmith.corpus.engine import DataType, Series, batch_function, col, read_parquet
from tinsmith.corpus.filters import REASONS as FILTER_REASONS
from tinsmith.corpus.partitions import PartitionWriter, partition_doc_ids, partition_file
from tinsmith.corpus.privacy import REASONS as PRIVACY_REASONS
from tinsmith.corpus.privacy import measured
from tinsmith.corpus.rights import REASONS as RIGHTS_REASONS
from tinsmith.corpus.tables import TableWriter, data_bytes
from tinsmith.corpus.text import language
from tinsmith.recipe import CurateConfig
from tinsmith.stages.curate.tally import Tally
from tinsmith.stages.stage import Inputs

_BATCH = 32  # documents filtered between two progress updates
_PARTITION_BYTES = 64_000_000  # documents sorted at one time
# Reason -> (step of the funnel, field under `curate` that causes it), in the order of the checks.
CAUSES = {
    **{reason: ("rights", field) for reason, field in RIGHTS_REASONS.items()},
    "empty": ("repair", ""),
    "language_unsure": ("language", "min_language_probability"),
    "language": ("language", "languages"),
    **{reason: ("quality", field) for reason, field in FILTER_REASONS.items()},
    **{reason: ("privacy", field) for reason, field in PRIVACY_REASONS.items()},
    "exact_duplicate": ("duplicates", ""),
    "near_duplicate": ("duplicates", "near_duplicate_jaccard"),
}
_COPIED = ("source", "sha256", "mime", "meta")
_FILTERED = pa.schema([*((name, pa.large_string()) for name in _COPIED), *RESULT])
_TEXT = pa.string()
_COLUMNS = ("doc_id", "text", "source", "sha256", "mime", "licence", "access", "language", "meta", "cluster")
DOCUMENTS = pa.schema([(name, _TEXT) for name in _COLUMNS])
REJECTS = pa.schema([(name, _TEXT) for name in ("doc_id", "source", "reason", "detail", "text")])


def curate(
    config: CurateConfig,
    *,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
    forgotten: ErasureList = NOTHING,
) -> dict[str, float]:
    """Filter and deduplicate `ingest/documents.parquet`; write documents, rejects, and counts of what was done.

    The seed chooses MinHash's permutations. Memory stays at a few hundred megabytes of text for any corpus. Raises
    CorpusError if nothing is left, RecipeError for an unknown language or a rule or pattern of
    the rights that applies to nothing.
    """
    _check_languages(config)
    work = out / ".work"
    shutil.rmtree(work, ignore_errors=True)
    document_filter = DocumentFilter(config, seed, forgotten)
    document_filter.rights.check_all_apply(_sources(inputs["ingest"], forgotten))
    document_filter.rights.check_patterns(_rights_columns(inputs["ingest"]))
    filtered = _filter(inputs["ingest"] / "documents.parquet", document_filter, work, progress)
    exact = ExactDedup(work, document_filter.signer.banding if document_filter.signer else None)
    with progress.task("sort", len(filtered), "parts") as advance:
        for path in filtered:
            exact.add(path)
            path.unlink()
            advance(1)
    signed, decisions = exact.close(work), []
    if signed is not None:
        thresholds = (config.cluster_jaccard, config.near_duplicate_jaccard)
        newest = config.keep == "newest"
        decisions = find_families(signed, thresholds, newest=newest, work=work, progress=progress)
    tally = _write(exact.files, {decision.row: decision for decision in decisions}, out, progress)
    write_jsonl(out / "funnel.jsonl", tally.funnel(CAUSES, config))
    write_jsonl(out / "rights.jsonl", tally.rights())
    write_jsonl(out / "hidden.jsonl", tally.hidden())
    write_jsonl(out / "privacy.jsonl", tally.privacy(document_filter.protector.actions))
    if (figures := measured(config.privacy.recogniser)) is not None:
        write_json(out / "privacy_measured.json", figures)
    shutil.rmtree(work)
    if not tally.kept_documents:
        raise _nothing_left(config, tally, out)
    return tally.statistics()


def _check_languages(config: CurateConfig) -> None:
    unknown = sorted(set(config.languages) - set(language.known_languages())) if config.languages else []
    if unknown:
        known = ", ".join(language.known_languages())
        raise RecipeError(
            f"unknown language {', '.join(unknown)}",
            where="curate.languages",
            next_step=f"choose among {known}",
        )


def _sources(ingest: Path, forgotten: ErasureList) -> Iterator[str]:
    """Yield every source that ingest saw, with repeats: documents, files without one, and erased files."""
    yield from forgotten.sources
    if (files := ingest / "files.jsonl").exists():
        yield from (row["source"] for row in read_jsonl(files))
    with pq.ParquetFile(ingest / "documents.parquet") as file:
        for batch in file.iter_batches(columns=["source"]):
            yield from pc.unique(batch["source"]).to_pylist()


def _rights_columns(ingest: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield what the rights of each ingested document depend on: source, sha256, licence, meta."""
    with pq.ParquetFile(ingest / "documents.parquet") as file:
        for batch in file.iter_batches(columns=["source", "sha256", "licence", "meta"]):
            for row in batch.to_pylist():
                yield row["source"], row["sha256"], row["licence"] or "", row["meta"] or ""


def _filter(path: Path, document_filter: DocumentFilter, work: Path, progress: Progress) -> list[Path]:
    """Filter every document on the engine; return files of results, each of a range of doc_id, in order."""

    @batch_function(return_dtype=DataType.from_arrow_type(RESULT), batch_size=_BATCH)
    def filter_batch(*columns: Series) -> pa.Array:
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        return document_filter.filter_all([IngestedDocument(*(value or "" for value in row)) for row in rows])

    documents = pq.read_metadata(path).num_rows
    if not documents:
        raise CorpusError(
            "no documents to curate",
            where=str(path),
            next_step="see files.jsonl beside it for why none was read",
        )
    count = -(-data_bytes(path) // _PARTITION_BYTES)
    result = filter_batch(*(col(name) for name in IngestedDocument._fields)).alias("result")
    frame = read_parquet(str(path)).select(*_COPIED, result)
    frame = frame.select(*_COPIED, *(col("result")[field.name].alias(field.name) for field in RESULT))
    with (
        progress.task("filter", documents, "documents") as advance,
        PartitionWriter(work / "filtered", _FILTERED) as writer,
    ):
        for batch in frame.to_arrow_iter():
            table = pa.Table.from_batches([batch])
            writer.add(table, partition_doc_ids(table["doc_id"], count))
            advance(table.num_rows)
    paths = (partition_file(work / "filtered", number) for number in range(count))
    return [path for path in paths if path.exists()]


def _write(files: list[Path], decisions: dict[int, Decision], out: Path, progress: Progress) -> Tally:
    """Write kept and dropped documents in order of doc_id; return the counts."""
    tally = Tally()
    with (
        TableWriter(out / "documents.parquet", DOCUMENTS) as kept,
        TableWriter(out / "rejects.parquet", REJECTS) as rejects,
        progress.task("write", len(files), "parts") as advance,
    ):
        for file in files:
            table = _decide(pq.read_table(file), decisions)
            tally.add(table)
            passes = pc.equal(table["reason"], "")
            kept.add(table.filter(passes))
            rejects.add(table.filter(pc.invert(passes)))
            advance(1)
    return tally


def _decide(table: pa.Table, decisions: dict[int, Decision]) -> pa.Table:
    """Add the cluster of each document, and the reason of near-duplicates."""
    doc_ids, rows = table["doc_id"].to_pylist(), table["row"].to_pylist()
    reasons, details = table["reason"].to_pylist(), table["detail"].to_pylist()
    # Exact copies have no decision of their own, but share the doc_id of the first.
    clusters = {
        doc_id: decisions[row].cluster for doc_id, row in zip(doc_ids, rows, strict=True) if row in decisions
    }
    for index, row in enumerate(rows):
        if row in decisions and decisions[row].kept:
            reasons[index], details[index] = "near_duplicate", decisions[row].kept
    for name, values in (("reason", reasons), ("detail", details)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, _TEXT))
    return table.append_column("cluster", pa.array([clusters.get(each, each) for each in doc_ids], _TEXT))


def _nothing_left(config: CurateConfig, tally: Tally, out: Path) -> CorpusError:
    counts = tally.documents.most_common()
    fields = [field for reason, _ in counts for field in CAUSES[reason][1].split(", ") if field]
    loosen = ", ".join(f"curate.{field} ({_now(config, field)})" for field in fields)
    reasons = ", ".join(f"{count} by {reason}" for reason, count in counts)
    advice = f"loosen {loosen}" if loosen else "name documents that contain text"
    return CorpusError(
        f"all {tally.seen} documents were dropped: {reasons}",
        where="curate",
        next_step=f"{advice}; {out}/rejects.parquet lists each",
    )


def _now(config: CurateConfig, field: str) -> str:
    value = attrgetter(field)(config)
    return f"now {', '.join(map(str, value)) if isinstance(value, tuple) else value}"
