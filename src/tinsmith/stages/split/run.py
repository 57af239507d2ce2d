"""Hold documents out before anything is learnt, and measure what training text shares with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.split import Overlap, SharedRun, choose_held_out, compare, hash_texts, stream_hashes
from tinsmith.corpus.tables import TableWriter
from tinsmith.recipe import SplitConfig
from tinsmith.stages.stage import Inputs

_BATCH = 256  # training documents in memory at one time


def split(
    config: SplitConfig, *, inputs: Inputs, seed: int, out: Path, progress: Progress
) -> dict[str, float]:
    """Divide `curate/documents.parquet` into train and held_out; list shared runs and measure the overlap.

    Training documents are streamed; held-out ones are in memory as hashed words. Raises CorpusError if there are
    fewer held-out documents than requested, or nothing is left to train on.
    """
    source = inputs["curate"] / "documents.parquet"
    clusters: list[str] = pq.read_table(source, columns=["cluster"])["cluster"].to_pylist()
    chosen = choose_held_out(clusters, config.held_out, seed)
    parts = _Parts.choose(clusters, chosen)
    _check_parts(config, clusters, parts)
    with progress.task("overlap", len(clusters), "documents") as advance:
        held_out = hash_texts(text for part, text in _texts(source, parts) if part == "held_out")
        training = _counted((text for part, text in _texts(source, parts) if part == "train"), advance)
        runs, overlaps = compare(
            held_out, stream_hashes(training), config.shared_run_words, drop_shared=config.drop_shared
        )
        advance(len(held_out))
    runs = [SharedRun(parts.training[run.training], parts.held_out[run.held_out], run.words) for run in runs]
    if config.drop_shared:
        parts.dropped = {run.training for run in runs}
    if not set(parts.training) - parts.dropped:
        raise CorpusError(
            f"every training document shares {config.shared_run_words} words with a held-out one",
            where="split.drop_shared",
            next_step="set split.drop_shared=false, or raise split.shared_run_words",
        )
    sizes = _write(source, parts, overlaps, runs, out)
    return _statistics(clusters, parts, sizes, overlaps, runs)


@dataclass
class _Parts:
    """The rows on each side of the split, and the training rows that are dropped."""

    held_out: list[int]
    training: list[int]
    dropped: set[int] = field(default_factory=set)

    @classmethod
    def choose(cls, clusters: list[str], chosen: set[str]) -> _Parts:
        held_out = [row for row, cluster in enumerate(clusters) if cluster in chosen]
        training = [row for row, cluster in enumerate(clusters) if cluster not in chosen]
        return cls(held_out, training)

    def names(self) -> list[str]:
        """Return the part of each row: train, held_out, or empty if dropped."""
        parts = dict.fromkeys(self.training, "train") | dict.fromkeys(self.held_out, "held_out")
        parts |= dict.fromkeys(self.dropped, "")
        return [parts[row] for row in range(len(parts))]


def _texts(source: Path, parts: _Parts) -> Iterator[tuple[str, str]]:
    names = iter(parts.names())
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(_BATCH, columns=["text"]):
            for text in batch["text"].to_pylist():
                yield next(names), text


def _counted(texts: Iterator[str], advance: Callable[[float], None]) -> Iterator[str]:
    for text in texts:
        yield text
        advance(1)


def _check_parts(config: SplitConfig, clusters: list[str], parts: _Parts) -> None:
    sizes = Counter(clusters)
    corpus = (
        f"{len(clusters)} documents in {len(sizes)} clusters, the largest of {max(sizes.values(), default=0)}"
    )
    loosen = "add documents, or raise curate.cluster_jaccard so that clusters become smaller"
    if len(parts.held_out) < 2:
        raise CorpusError(
            f"the held-out part is empty ({corpus})",
            where="split.held_out",
            next_step=f"raise split.held_out, {loosen}",
        )
    if config.held_out >= 1 and len(parts.held_out) < config.held_out:
        raise CorpusError(
            f"only {len(parts.held_out)} of {config.held_out:.0f} documents can be held out ({corpus}; "
            "clusters above a tenth of the count stay in training)",
            where="split.held_out",
            next_step=f"lower split.held_out, {loosen}",
        )
    if not parts.training:
        raise CorpusError(
            f"nothing is left to train on ({corpus})",
            where="split.held_out",
            next_step=f"lower split.held_out, {loosen}",
        )


@dataclass
class _Sizes:
    """Documents and bytes of text by part; empty for dropped ones."""

    documents: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)


def _write(source: Path, parts: _Parts, overlaps: list[Overlap], runs: list[SharedRun], out: Path) -> _Sizes:
    """Write documents, overlap, shared and dropped; return the size of each part."""
    sizes, names, first = _Sizes(), pa.array(parts.names(), pa.string()), 0
    longest = _longest(runs)
    ids: list[str] = pq.read_table(source, columns=["doc_id"])["doc_id"].to_pylist()
    dropped: list[dict[str, str | int]] = []
    schema = pq.read_schema(source).append(pa.field("part", pa.string()))
    with pq.ParquetFile(source) as file, TableWriter(out / "documents.parquet", schema) as writer:
        for batch in file.iter_batches(_BATCH):
            table = pa.Table.from_batches([batch])
            table = table.append_column("part", names.slice(first, table.num_rows))
            lengths = pc.binary_length(table["text"]).to_pylist()
            for row, (name, size) in enumerate(zip(table["part"].to_pylist(), lengths, strict=True)):
                sizes.documents[name] += 1
                sizes.bytes[name] += size
                if not name:
                    path = table["source"][row].as_py()
                    dropped.append(_dropped_row(ids, path, longest[first + row], size))
            writer.add(table.filter(pc.not_equal(table["part"], "")))
            first += table.num_rows
    rows = [
        {"doc_id": ids[row], "shared_words": each.shared_words, "words": each.words, "overlap": each.share}
        for row, each in zip(parts.held_out, overlaps, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), out / "overlap.parquet", compression="zstd")
    write_jsonl(
        out / "shared.jsonl",
        (
            {"train_doc_id": ids[run.training], "held_out_doc_id": ids[run.held_out], "words": run.words}
            for run in runs
        ),
    )
    write_jsonl(out / "dropped.jsonl", dropped)
    return sizes


def _longest(runs: list[SharedRun]) -> dict[int, SharedRun]:
    longest: dict[int, SharedRun] = {}
    for run in runs:
        if run.training not in longest or run.words > longest[run.training].words:
            longest[run.training] = run
    return longest


def _dropped_row(ids: list[str], source: str, run: SharedRun, size: int) -> dict[str, str | int]:
    return {
        "doc_id": ids[run.training],
        "source": source,
        "reason": "shared_run",
        "held_out_doc_id": ids[run.held_out],
        "words": run.words,
        "bytes": size,
    }


def _statistics(
    clusters: list[str], parts: _Parts, sizes: _Sizes, overlaps: list[Overlap], runs: list[SharedRun]
) -> dict[str, float]:
    shares = [overlap.share for overlap in overlaps]
    return {
        "documents_train": sizes.documents["train"],
        "documents_held_out": sizes.documents["held_out"],
        "bytes_train": sizes.bytes["train"],
        "bytes_held_out": sizes.bytes["held_out"],
        "clusters": len(set(clusters)),
        "clusters_held_out": len({clusters[row] for row in parts.held_out}),
        "largest_cluster_documents": max(Counter(clusters).values()),
        "mean_overlap": float(np.mean(shares)),
        "median_overlap": float(np.median(shares)),
        "share_overlap_above_half": float(np.mean(np.array(shares) > 0.5)),
        "shared_pairs": len(runs),
        "documents_sharing_runs": len({run.training for run in runs}),
        "documents_dropped": sizes.documents[""],
        "bytes_dropped": sizes.bytes[""],
    }
