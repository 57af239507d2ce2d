"""Score a saved model on texts with Tinsmith's evaluation: the one yardstick for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.workers.job import Job, read_job, write_json
from tinsmith.evaluate.families.bits import TextScore
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.model.load import load_model
from tinsmith.tokens.tokenizer import load_tokenizer

_WINDOW = 1024


def main(job: Job) -> None:
    """Write bits per byte over all texts, and bits and bytes of each; `data` is JSON of doc_id to text."""
    torch.set_num_threads(job.threads)
    items = score_texts(Path(job.model), json.loads(Path(job.data).read_text()))
    write_json(job, {"bits_per_byte": bits_per_byte(items), "items": items})


def score_texts(path: Path, texts: dict[str, str]) -> list[dict[str, Any]]:
    """Return doc_id, bits and bytes of each text by a saved model."""
    tokenizer = load_tokenizer(path)
    scores = [TextScore(HeldOutText(doc_id, text, 0.0), tokenizer, _WINDOW) for doc_id, text in texts.items()]
    scorer = Scorer(load_model(path), name=str(path))
    rows = [score.row(scorer.score(score.trees)) for score in scores]
    return [{"doc_id": row["doc_id"], "bits": row["bits"], "bytes": row["bytes"]} for row in rows]


def bits_per_byte(items: list[dict[str, Any]]) -> float:
    """Return bits per byte over all texts together."""
    return float(sum(item["bits"] for item in items) / sum(item["bytes"] for item in items))


if __name__ == "__main__":
    main(read_job())
