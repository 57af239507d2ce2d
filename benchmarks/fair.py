"""The fair fight: base and rival given the same training minutes on the same documents, scored on the same items."""

from __future__ import annotations

import shutil
from unittest import mock

from benchmarks.evidence import write_evidence
from benchmarks.paths import WORK
from benchmarks.standings import build_recipe, standings, tokens_learnt
from tinsmith.base.files import read_json

_RIVAL = "gemma-3-270m"
_TRAINED = f"{_RIVAL}-trained"


def run(*, quick: bool) -> None:
    """Write `results/fair`."""
    quickly = ["train.budget=20s", "evaluate.documents=4", "evaluate.built_items=4"] if quick else []
    # Its vocabulary cannot be written as GGUF, for which a build refuses to train it. Here it is scored, not exported.
    with mock.patch("tinsmith.stages.train.run.refuse_unwritable_tokenizer"):
        bigger = build_recipe("fair", "fair-bigger", f"model.base={_RIVAL}", *quickly, until="train")
    rival = WORK / _TRAINED
    shutil.rmtree(rival, ignore_errors=True)
    shutil.copytree(bigger / "train" / "model", rival)
    shutil.copytree(bigger / "tokenize" / "tokenizer", rival, dirs_exist_ok=True)
    rivals = f'evaluate.rivals=["{rival}", "{_RIVAL}"]'
    smaller = build_recipe("fair", "fair", rivals, *quickly, until="evaluate")
    found = read_json(smaller / "evaluate" / "metrics.json")
    learnt = {"smollm2-135m": tokens_learnt(smaller), _RIVAL: tokens_learnt(bigger)}
    body = [
        *standings(found),
        "Tokens learnt from in the same minutes: "
        + ", ".join(f"{name} {count:,}" for name, count in learnt.items())
        + ".",
    ]
    facts = {"metrics": found["metrics"], "comparisons": found["comparisons"], "tokens": learnt}
    title = "Base and rival given the same training minutes on the same documents"
    write_evidence("fair-quick" if quick else "fair", title, facts, body)
