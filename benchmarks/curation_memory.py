"""Peak memory and time of curation as the text grows, up to gigabytes."""

from __future__ import annotations

import shutil
from collections import deque

from benchmarks import recombined
from benchmarks.evidence import table, write_evidence
from benchmarks.paths import WORK
from benchmarks.peers import OURS
from benchmarks.processes import run_worker
from benchmarks.workers.job import Job

_CURATE = {"languages": ["en"], "rules": ["gopher"]}
_STEPS = (0.02, 0.2, 1.0)  # of the size


def run(megabytes: int) -> None:
    """Write `results/curation_memory`: shares of a size, the largest last."""
    rows = []
    for share in _STEPS:
        size = int(share * megabytes)
        folder = WORK / f"memory-{size}"
        folder.mkdir(parents=True, exist_ok=True)
        deque(recombined.write_table(size * 1_000_000, folder), maxlen=0)
        job = Job("", "", str(folder), 0, 0, 0, save=str(WORK / "memory-out"), more={"curate": _CURATE})
        rows.append({"megabytes": size, **run_worker(OURS, "curating", job)})
        shutil.rmtree(folder)
        print(
            f"{size} MB: {rows[-1]['seconds']:.0f} s, {rows[-1]['peak_rss_bytes'] / 1e9:.2f} GB", flush=True
        )
    facts = {"rows": rows}
    lines = [
        [
            f"{row['megabytes']:,}",
            f"{row['statistics']['documents_ingested']:,}",
            f"{row['peak_rss_bytes'] / 1e9:.2f}",
            f"{row['seconds']:.0f}",
            f"{row['megabytes'] / row['seconds']:.2f}",
        ]
        for row in rows
    ]
    body = [
        "Real paragraphs recombined by a seed; the stage curate alone, in a fresh process: repair, language, Gopher's "
        "rules, clusters and near-duplicates at the defaults, privacy off. Memory is the largest resident set of the "
        "process.",
        "",
        *table(["MB of text", "documents", "peak memory, GB", "seconds", "MB/s"], lines),
    ]
    write_evidence("curation_memory", "Memory of curation as the text grows", facts, body)
