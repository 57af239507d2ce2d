"""Megabytes a second of filters and deduplication, two cores, beside datatrove and text-dedup on the same text."""

from __future__ import annotations

from typing import Any

from benchmarks import peers, recombined
from benchmarks.evidence import table, write_evidence
from benchmarks.paths import WORK
from benchmarks.peers import OURS
from benchmarks.processes import run_worker
from benchmarks.ratios import ratio_spread, spread
from benchmarks.workers.job import Job

_RULES = ["gopher", "c4", "fineweb"]
_FILTERS = {"languages": ["en"], "rules": _RULES, "near_duplicate_jaccard": 1, "cluster_jaccard": 1}
_ALL = {"languages": ["en"], "rules": _RULES, "near_duplicate_jaccard": 0.7, "cluster_jaccard": 0.7}
_MINHASH = {"rules": [], "near_duplicate_jaccard": 0.7, "cluster_jaccard": 0.7}
# What is measured: our section, the peers' steps.
WORK_DONE: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "language and rules": (_FILTERS, {"datatrove": {"filters": ["language", *_RULES], "minhash": False}}),
    "language, rules and MinHash": (_ALL, {"datatrove": {"filters": ["language", *_RULES], "minhash": True}}),
    "MinHash alone": (_MINHASH, {"datatrove": {"filters": [], "minhash": True}, "text-dedup": {}}),
}
_WORKERS = {"datatrove": "trove", "text-dedup": "dedup04"}


def run(*, megabytes: int, rounds: int, pip: list[str]) -> None:
    """Write `results/curation_speed`."""
    peers.install(list(_WORKERS), pip)
    folder = recombined.write(megabytes * 1_000_000)
    rows: list[dict[str, Any]] = []
    for number in range(rounds):
        for name, (section, others) in WORK_DONE.items():
            ours = {"curate": section, "warm": not number}
            rows.append(_measure(name, "tinsmith", OURS, "curating", str(folder), ours, number))
            for peer, more in others.items():
                rows.append(_measure(name, peer, peer, _WORKERS[peer], str(folder / "jsonl"), more, number))
    facts = {"megabytes": megabytes, "rows": rows}
    title = "Curation beside datatrove and text-dedup 0.4.0"
    write_evidence("curation_speed", title, facts, _body(facts))


def _measure(
    name: str, subject: str, environment: str, worker: str, data: str, more: dict[str, Any], number: int
) -> dict[str, Any]:
    job = Job("", "", data, 0, 0, 0, save=str(WORK / "curation-out"), more=more)
    result = run_worker(environment, worker, job)
    print(f"{name}, {subject}: {result['seconds']:.1f} s", flush=True)
    return {"work": name, "subject": subject, "round": number, **result}


def _body(facts: dict[str, Any]) -> list[str]:
    lines = []
    for name, (_, others) in WORK_DONE.items():
        seconds = {
            subject: [
                row["seconds"] for row in facts["rows"] if row["work"] == name and row["subject"] == subject
            ]
            for subject in ("tinsmith", *others)
        }
        for subject, found in seconds.items():
            rates = spread([facts["megabytes"] / each for each in found])
            ratio = "" if subject == "tinsmith" else str(ratio_spread(found, seconds["tinsmith"]))
            lines.append([name, subject, rates, ratio])
    return [
        f"{facts['megabytes']} MB of real paragraphs (filings, regulations, contracts, opinions, statutes, minutes) "
        "recombined by a seed, one document in twenty a near-copy of another. Each subject reads its own kind of file "
        "and writes what it keeps: Tinsmith one Parquet table with its stage curate (repair included, privacy off), "
        "the peers JSON Lines in two parts with two processes. datatrove's language filter reads the small fastText "
        "model. Fresh process each time; in the first round ours runs once before it is timed, since it compiles its "
        "loops once on a machine. MinHash: ours proposes at a Jaccard of 0.7 and verifies every pair; datatrove has "
        "14 buckets of 8, text-dedup a threshold of 0.7.",
        "",
        *table(["work", "", "MB/s", "tinsmith: times as fast"], lines),
    ]
