"""Keep the documents worth learning from, and say why each other one goes."""

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
from tinsmith.corpus.dedup.families import Decision
from tinsmith.corpus.dedup.search import find_families
from tinsmith.corpus.document_filter import ASKED, FOUND, Document, Judge
from tinsmith.corpus.engine import DataType, Series, batch_function, col, read_parquet
from tinsmith.corpus.filters import REASONS as FILTERED
from tinsmith.corpus.privacy import REASONS as PRIVATE
from tinsmith.corpus.privacy import measured
from tinsmith.corpus.ranges import RangeWriter, range_file, range_of_doc_ids
from tinsmith.corpus.rights import REASONS as REFUSED
from tinsmith.corpus.sorting import Sorter
from tinsmith.corpus.tables import TableWriter
from tinsmith.corpus.text import language
from tinsmith.recipe import CurateConfig
from tinsmith.stages.curate.tally import Tally

_BATCH = 32  # documents judged between two words to the progress bar
_RANGE_BYTES = 64_000_000  # documents sorted at one time
# Every reason in the order in which the rules are asked: (step of the funnel, field of the recipe that causes
# it).
CAUSES = {
    **{reason: ("rights", field) for reason, field in REFUSED.items()},
    "empty": ("repair", ""),
    "language_unsure": ("language", "min_language_probability"),
    "language": ("language", "languages"),
    **{reason: ("quality", field) for reason, field in FILTERED.items()},
    **{reason: ("privacy", field) for reason, field in PRIVATE.items()},
    "exact_duplicate": ("duplicates", ""),
    "near_duplicate": ("duplicates", "near_duplicate_jaccard"),
}
_PASSED = ("source", "sha256", "mime", "meta")
_JUDGED = pa.schema([*((name, pa.large_string()) for name in _PASSED), *FOUND])
_TEXT = pa.string()
DOCUMENTS = pa.schema(
    [
        (name, _TEXT)
        for name in (
            "doc_id",
            "text",
            "source",
            "sha256",
            "mime",
            "licence",
            "access",
            "language",
            "meta",
            "cluster",
        )
    ]
)
REJECTS = pa.schema([(name, _TEXT) for name in ("doc_id", "source", "reason", "detail", "text")])


def curate(
    config: CurateConfig,
    *,
    ingest: Path,
    seed: int,
    out: Path,
    progress: Progress,
    forgotten: ErasureList = NOTHING,
) -> dict[str, float]:
    """Judge and deduplicate `ingest/documents.parquet`; write documents, rejects, funnel and what was protected.

    The seed chooses MinHash's permutations. Memory holds a few hundred megabytes of text whatever there is. Raises
    CorpusError if nothing is left, RecipeError for an unknown language or a rights rule that labels nothing.
    """
    _check_languages(config)
    work = out / ".work"
    shutil.rmtree(work, ignore_errors=True)
    judge = Judge(config, seed, forgotten)
    judge.rights.check_all_apply(_sources(ingest, forgotten))
    judged = _judge(ingest / "documents.parquet", judge, work, progress)
    sorter = Sorter(work, judge.signer.banding if judge.signer else None)
    with progress.task("sort", len(judged), "parts") as advance:
        for path in judged:
            sorter.add(path)
            path.unlink()
            advance(1)
    signed, decisions = sorter.close(work), []
    if signed is not None:
        thresholds = (config.cluster_jaccard, config.near_duplicate_jaccard)
        decisions = find_families(
            signed, thresholds, newest=config.keep == "newest", work=work, progress=progress
        )
    tally = _write(sorter.files, {each.row: each for each in decisions}, config, judge, out, progress)
    write_jsonl(out / "funnel.jsonl", tally.funnel(CAUSES, config))
    write_jsonl(out / "rights.jsonl", tally.rights())
    write_jsonl(out / "hidden.jsonl", tally.hidden())
    write_jsonl(out / "privacy.jsonl", tally.privacy(judge.protector.actions))
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
    """Yield every source that ingest saw, with repeats: documents, files that gave none, and what is forgotten."""
    yield from forgotten.sources
    if (files := ingest / "files.jsonl").exists():
        yield from (row["source"] for row in read_jsonl(files))
    with pq.ParquetFile(ingest / "documents.parquet") as file:
        for batch in file.iter_batches(columns=["source"]):
            yield from pc.unique(batch["source"]).to_pylist()


def _judge(path: Path, judge: Judge, work: Path, progress: Progress) -> list[Path]:
    """Judge every document on the engine; return files of them, each of a range of doc_id, in order."""

    @batch_function(return_dtype=DataType.from_arrow_type(FOUND), batch_size=_BATCH)
    def examine(*columns: Series) -> pa.Array:
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        return judge.judge_all([Document(*(value or "" for value in row)) for row in rows])

    metadata = pq.read_metadata(path)
    if not metadata.num_rows:
        raise CorpusError(
            "no documents to curate",
            where=str(path),
            next_step="see files.jsonl beside it for why none was read",
        )
    held = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    count = -(-held // _RANGE_BYTES)
    frame = read_parquet(str(path))
    frame = frame.select(
        *(name for name in _PASSED), examine(*(col(name) for name in ASKED)).alias("verdict")
    )
    frame = frame.select(*_PASSED, *(col("verdict")[field.name].alias(field.name) for field in FOUND))
    with (
        progress.task("judge", metadata.num_rows, "documents") as advance,
        RangeWriter(work / "judged", _JUDGED) as writer,
    ):
        for batch in frame.to_arrow_iter():
            table = pa.Table.from_batches([batch])
            writer.add(table, range_of_doc_ids(table["doc_id"], count))
            advance(table.num_rows)
    paths = (range_file(work / "judged", number) for number in range(count))
    return [each for each in paths if each.exists()]


def _write(
    files: list[Path],
    decisions: dict[int, Decision],
    config: CurateConfig,
    judge: Judge,
    out: Path,
    progress: Progress,
) -> Tally:
    """Write kept and dropped documents, in order of doc_id; return what was counted."""
    tally = Tally()
    with (
        TableWriter(out / "documents.parquet", DOCUMENTS) as kept,
        TableWriter(out / "rejects.parquet", REJECTS) as gone,
        progress.task("write", len(files), "parts") as advance,
    ):
        for file in files:
            table = _decided(pq.read_table(file), decisions)
            tally.add(table)
            passing = pc.equal(table["reason"], "")
            kept.add(table.filter(passing))
            gone.add(table.filter(pc.invert(passing)))
            advance(1)
    return tally


def _decided(table: pa.Table, decisions: dict[int, Decision]) -> pa.Table:
    """Add the cluster of each document, and the reason of those that another one is kept for."""
    names, rows = table["doc_id"].to_pylist(), table["row"].to_pylist()
    reasons, details = table["reason"].to_pylist(), table["detail"].to_pylist()
    clusters = {
        name: decisions[row].cluster for name, row in zip(names, rows, strict=True) if row in decisions
    }
    for place, row in enumerate(rows):
        if row in decisions and decisions[row].kept and not reasons[place]:
            reasons[place], details[place] = "near_duplicate", decisions[row].kept
    for name, values in (("reason", reasons), ("detail", details)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, _TEXT))
    return table.append_column("cluster", pa.array([clusters.get(name, name) for name in names], _TEXT))


def _nothing_left(config: CurateConfig, tally: Tally, out: Path) -> CorpusError:
    counts = tally.documents.most_common()
    fields = [CAUSES[reason][1] for reason, _ in counts]
    loosen = ", ".join(f"curate.{name} ({_now(config, name)})" for name in _fields(fields))
    by = ", ".join(f"{count} by {reason}" for reason, count in counts)
    advice = f"loosen {loosen}" if loosen else "name documents that hold text"
    return CorpusError(
        f"all {tally.seen} documents were dropped: {by}",
        where="curate",
        next_step=f"{advice}; each is listed in {out}/rejects.parquet",
    )


def _fields(causes: list[str]) -> Iterator[str]:
    for cause in causes:
        yield from filter(None, cause.split(", "))


def _now(config: CurateConfig, name: str) -> str:
    value = attrgetter(name)(config)
    return f"now {', '.join(map(str, value)) if isinstance(value, tuple) else value}"
