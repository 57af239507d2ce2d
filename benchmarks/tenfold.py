"""Fresh weights of thirteen million parameters against models ten and twenty times their size."""

from __future__ import annotations

from benchmarks.evidence import write_evidence
from benchmarks.standings import build_recipe, standings, tokens_learnt
from tinsmith.base.files import read_json


def run(*, quick: bool) -> None:
    """Write `results/tenfold`; the report lies in the run's bundle."""
    quickly = ["train.budget=20s", "evaluate.documents=4", "evaluate.built_items=4"] if quick else []
    run_directory = build_recipe("tenfold", "tenfold", *quickly, until="report")
    found = read_json(run_directory / "evaluate" / "metrics.json")
    learnt = tokens_learnt(run_directory)
    body = [
        *standings(found),
        f"Learnt from {learnt:,} tokens, from nothing; the rivals as they are published.",
    ]
    facts = {
        "metrics": found["metrics"],
        "comparisons": found["comparisons"],
        "subjects": found["subjects"],
        "tokens": learnt,
    }
    title = "Thirteen million fresh parameters against models of ten and twenty times the size"
    write_evidence("tenfold-quick" if quick else "tenfold", title, facts, body)
