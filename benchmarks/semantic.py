"""Halves of one contract, which share a matter but no paragraph: what finds that they belong together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import DATA, WORK
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.dedup.signatures import jaccard, shingle_set
from tinsmith.corpus.engine import read_parquet
from tinsmith.corpus.steps import semantic
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.text.repair import document_id
from tinsmith.recipe import SemanticConfig

_THRESHOLDS = (0.99, 0.97, 0.95, 0.9, 0.85, 0.8)
_LEAST = 2000  # characters of a half
_JACCARD = 0.7


class _Found(NamedTuple):
    threshold: float
    gone: int
    right: int


def run(*, contracts: int) -> None:
    """Write `results/semantic`."""
    halves = _halves(contracts)
    twins = {a: b for pair in halves for a, b in (pair, pair[::-1])}
    ids = {document_id(text): text for text in twins}
    folder = WORK / "semantic"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = [{"doc_id": name, "text": text} for name, text in sorted(ids.items())]
    pq.write_table(pa.Table.from_pylist(rows), folder / "documents.parquet")
    found = [_find(folder, threshold, ids, twins) for threshold in _THRESHOLDS]
    alike = sum(jaccard(*map(shingle_set, pair)) >= _JACCARD for pair in halves)
    facts = {"pairs": len(halves), "minhash_pairs": alike, "rows": [each._asdict() for each in found]}
    lines = [
        [
            f"{row.threshold}",
            str(row.gone),
            f"{row.right / len(halves):.1%}",
            f"{row.right / row.gone:.1%}" if row.gone else "",
        ]
        for row in found
    ]
    body = [
        f"{len(halves)} contracts of CUAD, each cut into its odd and its even paragraphs: two documents of one "
        "matter in different words. A document that goes is right if what is kept for it is its twin. Of the same "
        f"pairs {alike} reach a Jaccard index of {_JACCARD}, so near-duplicates by MinHash find as many.",
        "",
        *table(["max_similarity", "documents that go", "pairs found", "of those that go, right"], lines),
    ]
    write_evidence("semantic", "Semantic near-duplicates", facts, body)


def _halves(contracts: int) -> list[tuple[str, str]]:
    pairs = []
    for path in sorted((DATA / "cuad/CUAD_v1/full_contract_txt").rglob("*.txt"))[:contracts]:
        text = path.read_text(encoding="utf-8", errors="replace")
        parts = [part for part in text.split("\n\n") if part.strip()]
        pair = "\n\n".join(parts[::2]), "\n\n".join(parts[1::2])
        if min(map(len, pair)) >= _LEAST:
            pairs.append(pair)
    if not pairs:
        raise SystemExit(f"no contracts below {DATA}; TINSMITH_BENCH_DATA names another folder")
    return pairs


def _find(folder: Path, threshold: float, ids: dict[str, str], twins: dict[str, str]) -> _Found:
    documents = read_parquet(str(folder / "documents.parquet"))
    given = StepInput(documents, documents, folder / str(threshold), 1, SilentProgress())
    outcome = semantic.run(SemanticConfig(max_similarity=threshold), given)
    gone = pq.read_table(outcome.decisions, columns=["doc_id", "detail"]).to_pylist()
    right = sum(ids[row["detail"].split()[-1]] == twins[ids[row["doc_id"]]] for row in gone)
    return _Found(threshold, len(gone), right)
