"""Score a saved model on texts with Tinsmith's evaluation: the one yardstick for all."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from benchmarks.workers.job import Job, read_job, write_json
from tinsmith.evaluate.bits import Document, TextScore
from tinsmith.evaluate.score import Scorer
from tinsmith.model.load import load_model
from tinsmith.tokens.tokenizer import load_tokenizer

_WINDOW = 1024


def main(job: Job) -> None:
    """Write bits per byte over all texts, and bits and bytes of each; `data` is JSON of doc_id to text."""
    torch.set_num_threads(job.threads)
    texts: dict[str, str] = json.loads(Path(job.data).read_text())
    tokenizer = load_tokenizer(Path(job.model))
    documents = [Document(doc_id, text, 0.0) for doc_id, text in texts.items()]
    scores = [TextScore(document, tokenizer, _WINDOW) for document in documents]
    scorer = Scorer(load_model(Path(job.model)), name=job.model)
    rows = [score.row(scorer.score(score.trees)) for score in scores]
    bits, size = sum(float(row["bits"]) for row in rows), sum(int(row["bytes"]) for row in rows)
    items = [{"doc_id": row["doc_id"], "bits": row["bits"], "bytes": row["bytes"]} for row in rows]
    write_json(job, {"bits_per_byte": bits / size, "items": items})


if __name__ == "__main__":
    main(read_job())
