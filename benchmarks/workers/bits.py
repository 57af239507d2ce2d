"""Score tokenised texts with Tinsmith's scorer, or with the plain loop that a transformers user would write."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from benchmarks.workers.job import Job, peak_rss_bytes, read_job, write_json
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.model.load import load_model


def main(job: Job) -> None:
    """Write bits over all sequences of `data` (the first token of each is context), seconds and memory."""
    torch.set_num_threads(job.threads)
    sequences = job.sequences
    ours = job.more["way"] == "tinsmith"
    # Ours loads and checks in float32 and rounds afterwards, as a build does.
    model = load_model(Path(job.model), dtype=torch.float32 if ours else getattr(torch, job.precision))
    if ours:
        scorer = Scorer(model, name=job.model)
        if job.precision == "bfloat16":
            scorer.round_weights()
        _score(scorer, sequences[:1])
        seconds, nats = _timed(lambda: _score(scorer, sequences))
    else:
        _loop(model, sequences[:1])
        seconds, nats = _timed(lambda: _loop(model, sequences))
    # As they are scored with; tied weights are one tensor, seen once.
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    bits = nats / math.log(2)
    write_json(
        job, {"seconds": seconds, "bits": bits, "peak_rss_bytes": peak_rss_bytes(), "weight_bytes": weights}
    )


def _timed(work: Callable[[], float]) -> tuple[float, float]:
    started = time.perf_counter()
    nats = work()
    return time.perf_counter() - started, nats


def _score(scorer: Scorer, sequences: Sequence[Sequence[int]]) -> float:
    trees = []
    for tokens in sequences:
        tree = Tree()
        tree.ask(tree.add(tokens)[1:])
        trees.append(tree)
    return -math.fsum(value for found in scorer.score(trees) for value in found.values())


def _loop(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> float:
    nats = 0.0
    with torch.inference_mode():
        for tokens in sequences:
            ids = torch.tensor([tokens])
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            nats += float(loss) * (len(tokens) - 1)
    return nats


if __name__ == "__main__":
    main(read_job())
