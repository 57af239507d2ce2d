"""Train with Tinsmith's own stage, exactly as a build does: loop, journal and all."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.workers.job import Job, Stamps, read_job, write_result
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import Advance, PlainProgress
from tinsmith.recipe import ModelConfig, TrainConfig
from tinsmith.stages.train import Settings
from tinsmith.stages.train.run import train
from tinsmith.tokens.batches import Batches
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer

_PACKAGES = ("tinsmith", "torch", "transformers")


class Watch(PlainProgress):
    """Mark the start of training and the end of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.stamps = Stamps()

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator[Advance]:
        """Time the piece of work that is called training; let others pass."""
        if what != "training":
            yield lambda amount: None
            return
        self.stamps.mark()
        yield lambda amount: self.stamps.mark()


def main(job: Job) -> None:
    """Run a job."""
    torch.set_num_threads(job.threads)
    out = Path(f"{job.out}.stage")
    tokens = write_tokens(job, Path(f"{job.out}.tokens"))
    out.mkdir()
    section, watch = make_section(job), Watch()
    train(
        section,
        settings=Settings(ModelConfig(base=job.model)),
        inputs={"tokenize": tokens},
        seed=job.seed,
        out=out,
        progress=watch,
    )
    rows = list(read_jsonl(out / "log.jsonl"))
    write_result(
        job,
        watch.stamps,
        losses=[row["loss"] for row in rows],
        tokens=[row["tokens"] for row in rows],
        packages=_PACKAGES,
        loader_seconds=_loader_seconds(TokenSet(tokens), section, len(rows)),
    )


def make_section(job: Job) -> TrainConfig:
    """Return the training section: Tinsmith's defaults, save what equal work asks for."""
    return TrainConfig.model_validate(
        {
            "budget": f"{job.warmup + job.steps} steps",
            "batch_tokens": job.batch * job.length,
            "micro_rows": job.micro,
            "learning_rate": job.learning_rate,
            "weight_decay": 0.0,
            "warmup": 0.0,
            "decay": 0.0,
            "precision": job.precision,
            "compile": "on" if job.compiled else "off",
            "trainable": job.trainable,
            "checkpoint_seconds": 1e9,
        }
    )


def write_tokens(job: Job, directory: Path) -> Path:
    """Write the job's sequences as a token set, in their order; return its directory."""
    directory.mkdir()
    writer, sequences = ShardWriter(directory), job.sequences
    for number, ids in enumerate(sequences):
        writer.add(f"d{number}", 0, ids, [1] * len(ids))
    tokenizer = load_tokenizer(Path(job.model))
    writer.close(range(len(sequences)), {"context": job.length, "vocabulary": len(tokenizer)})
    save_tokenizer(tokenizer, directory / "tokenizer")
    return directory


def _loader_seconds(tokens: TokenSet, section: TrainConfig, steps: int) -> list[float]:
    """Measure how long each step's batches take to make, apart from training."""
    batches = Batches(tokens, batch_tokens=section.batch_tokens, micro_rows=section.micro_rows, seed=0)
    stamps = [time.perf_counter()]
    for step in range(steps):
        batches.step_tokens(step)  # the loop asks for it too
        batches.step(step)
        stamps.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(stamps)]


if __name__ == "__main__":
    main(read_job())
