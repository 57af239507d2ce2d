"""Put documents aside before anything is learnt, and say what training text shares with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.corpus.split import (
    Overlap,
    SharedRun,
    choose_held_out,
    find_shared_runs,
    hash_texts,
    measure_overlap,
)
from tinsmith.foundation.errors import CorpusError
from tinsmith.foundation.files import write_jsonl
from tinsmith.foundation.progress import Progress
from tinsmith.recipe import SplitConfig


def split(config: SplitConfig, *, curate: Path, seed: int, out: Path, progress: Progress) -> dict[str, float]:
    """Divide `curate/documents.parquet` into train and held_out; name shared runs, measure the overlap.

    Raises CorpusError where the held-out part is empty or smaller than the asked count, or nothing is left to
    train on.
    """
    table = pq.read_table(curate / "documents.parquet")
    clusters: list[str] = table["cluster"].to_pylist()
    chosen = choose_held_out(clusters, config.held_out, seed)
    held_out = [number for number, cluster in enumerate(clusters) if cluster in chosen]
    training = [number for number, cluster in enumerate(clusters) if cluster not in chosen]
    _check_parts(config, clusters, held_out, training)
    with progress.task("overlap", len(clusters), "documents") as advance:
        words = hash_texts(table["text"].to_pylist())
        held_out_words = [words[number] for number in held_out]
        runs = find_shared_runs(
            held_out_words, [words[number] for number in training], config.shared_run_words
        )
        runs = [SharedRun(training[run.training], held_out[run.held_out], run.words) for run in runs]
        dropped = {run.training for run in runs} if config.drop_shared else set()
        training = [number for number in training if number not in dropped]
        if not training:
            raise CorpusError(
                f"every training document shares {config.shared_run_words} words with a held-out one",
                where="split.drop_shared",
                next_step="set split.drop_shared=false, or raise split.shared_run_words",
            )
        overlaps = measure_overlap(held_out_words, [words[number] for number in training])
        advance(len(clusters))
    _write(table, held_out, training, overlaps, runs, dropped, out)
    return _statistics(table, clusters, held_out, training, overlaps, runs, dropped)


def _check_parts(config: SplitConfig, clusters: list[str], held_out: list[int], training: list[int]) -> None:
    sizes = Counter(clusters)
    corpus = (
        f"{len(clusters)} documents in {len(sizes)} clusters, the largest of {max(sizes.values(), default=0)}"
    )
    loosen = "add documents, or raise curate.cluster_jaccard so that clusters become smaller"
    if len(held_out) < 2:
        raise CorpusError(
            f"the held-out part is empty ({corpus})",
            where="split.held_out",
            next_step=f"raise split.held_out, {loosen}",
        )
    if config.held_out >= 1 and len(held_out) < config.held_out:
        raise CorpusError(
            f"only {len(held_out)} of {config.held_out:.0f} documents can be held out ({corpus}; "
            "clusters above a tenth of the count are left to training)",
            where="split.held_out",
            next_step=f"lower split.held_out, {loosen}",
        )
    if not training:
        raise CorpusError(
            f"nothing is left to train on ({corpus})",
            where="split.held_out",
            next_step=f"lower split.held_out, {loosen}",
        )


def _write(
    table: pa.Table,
    held_out: list[int],
    training: list[int],
    overlaps: list[Overlap],
    runs: list[SharedRun],
    dropped: set[int],
    out: Path,
) -> None:
    ids = table["doc_id"].to_pylist()
    parts = dict.fromkeys(held_out, "held_out") | dict.fromkeys(training, "train")
    stay = sorted(parts)
    documents = table.take(pa.array(stay, pa.int64()))
    documents = documents.append_column("part", pa.array([parts[number] for number in stay], pa.string()))
    pq.write_table(documents, out / "documents.parquet", compression="zstd")
    rows = [
        {"doc_id": ids[number], "shared_words": o.shared_words, "words": o.words, "overlap": o.share}
        for number, o in zip(held_out, overlaps, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), out / "overlap.parquet", compression="zstd")
    write_jsonl(
        out / "shared.jsonl",
        (
            {"train_doc_id": ids[run.training], "held_out_doc_id": ids[run.held_out], "words": run.words}
            for run in runs
        ),
    )
    write_jsonl(out / "dropped.jsonl", (_dropped_row(table, number, runs) for number in sorted(dropped)))


def _dropped_row(table: pa.Table, number: int, runs: list[SharedRun]) -> dict[str, str | int]:
    longest = max((run for run in runs if run.training == number), key=lambda run: run.words)
    return {
        "doc_id": table["doc_id"][number].as_py(),
        "source": table["source"][number].as_py(),
        "reason": "shared_run",
        "held_out_doc_id": table["doc_id"][longest.held_out].as_py(),
        "words": longest.words,
        "bytes": len(table["text"][number].as_py().encode()),
    }


def _statistics(
    table: pa.Table,
    clusters: list[str],
    held_out: list[int],
    training: list[int],
    overlaps: list[Overlap],
    runs: list[SharedRun],
    dropped: set[int],
) -> dict[str, float]:
    sizes = [len(text.encode()) for text in table["text"].to_pylist()]
    shares = [overlap.share for overlap in overlaps]
    return {
        "documents_train": len(training),
        "documents_held_out": len(held_out),
        "bytes_train": sum(sizes[number] for number in training),
        "bytes_held_out": sum(sizes[number] for number in held_out),
        "clusters": len(set(clusters)),
        "clusters_held_out": len({clusters[number] for number in held_out}),
        "largest_cluster_documents": max(Counter(clusters).values()),
        "mean_overlap": float(np.mean(shares)),
        "median_overlap": float(np.median(shares)),
        "share_overlap_above_half": float(np.mean(np.array(shares) > 0.5)),
        "shared_pairs": len(runs),
        "documents_sharing_runs": len({run.training for run in runs}),
        "documents_dropped": len(dropped),
        "bytes_dropped": sum(sizes[number] for number in dropped),
    }
