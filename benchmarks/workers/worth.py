"""Train a fresh model on one arm's tokens, score it on the held-out texts and let it speak."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.workers.job import Job, read_job, write_json
from benchmarks.workers.score import bits_per_byte, score_texts
from tinsmith import load_recipe
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import PlainProgress
from tinsmith.model.load import load_model
from tinsmith.stages.train import Settings
from tinsmith.stages.train.run import train
from tinsmith.tokens.encoding import context_token
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer

_AT_ONCE = 64


def main(job: Job) -> None:
    """Write bits and bytes of each held-out text, the texts sampled, and what the run took."""
    torch.set_num_threads(job.threads)
    recipe = load_recipe(Path(job.more["recipe"]), tuple(job.more["overrides"]))
    tokens = Path(job.more["tokens"])
    out = Path(tempfile.mkdtemp(prefix="worth-"))
    started = time.perf_counter()
    train(
        recipe.train,
        settings=Settings(recipe.model),
        inputs={"tokenize": tokens},
        seed=job.seed,
        out=out,
        progress=PlainProgress(),
    )
    seconds = time.perf_counter() - started
    log = list(read_jsonl(out / "log.jsonl"))
    texts: dict[str, str] = json.loads(Path(job.data).read_text())
    items = score_texts(out / "model", texts)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = load_model(out / "model").to(device), load_tokenizer(out / "model")
    write_json(
        job,
        {
            **{name: job.more[name] for name in ("corpus", "arm")},
            "seed": job.seed,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "tokens": sum(row["tokens"] for row in log),
            "epoch_tokens": TokenSet(tokens).tokens,
            "steps": len(log),
            "last_loss": math.fsum(row["loss"] for row in log[-20:]) / len(log[-20:]),
            "training_seconds": seconds,
            "bits_per_byte": bits_per_byte(items),
            "items": items,
            "samples": sample(model, tokenizer, job.more["samples"], job.more["sample_tokens"], job.seed),
        },
    )
    shutil.rmtree(out)


def sample(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, count: int, tokens: int, seed: int
) -> list[str]:
    """Return texts of at most `tokens` tokens drawn from the model's own distribution, after an empty beginning."""
    torch.manual_seed(seed)
    texts: list[str] = []
    while len(texts) < count:
        start = torch.full(
            (min(_AT_ONCE, count - len(texts)), 1), context_token(tokenizer), device=model.device
        )
        drawn: Any = model.generate(
            start,
            attention_mask=torch.ones_like(start),
            do_sample=True,
            top_k=0,
            max_new_tokens=tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        texts += tokenizer.batch_decode(drawn, skip_special_tokens=True)
    return texts


if __name__ == "__main__":
    main(read_job())
