"""Train with one setting of Tinsmith's own on the training side, some of whose documents are kept out."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch

from benchmarks.workers.job import Job, peak_rss_bytes, read_job, write_json
from tinsmith import load_recipe
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.base.progress import PlainProgress
from tinsmith.pipeline.build import build
from tinsmith.stages.train import Settings
from tinsmith.stages.train.run import train
from tinsmith.tokens.shards import ShardWriter, TokenSet


def main(job: Job) -> None:
    """Write what the run took; `more` holds recipe, overrides, doc_ids left out, and how many documents to take."""
    torch.set_num_threads(job.threads)
    recipe = load_recipe(Path(job.more["recipe"]), tuple(job.more["overrides"]))
    whole = build(recipe, progress=PlainProgress(), until="tokenize") / "tokenize"
    tokens = restrict(whole, Path(f"{job.out}.tokens"), set(job.more["without"]), int(job.more["documents"]))
    out = Path(job.save)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    train(
        recipe.train,
        settings=Settings(recipe.model),
        inputs={"tokenize": tokens},
        seed=recipe.seed,
        out=out,
        progress=PlainProgress(),
    )
    rows = list(read_jsonl(out / "log.jsonl"))
    write_json(
        job,
        {
            "training_seconds": math.fsum(row["seconds"] for row in rows),
            "steps": len(rows),
            "tokens": sum(row["tokens"] for row in rows),
            "epoch_tokens": TokenSet(tokens).tokens,
            "last_loss": rows[-1]["loss"],
            "model": str(out / "model"),
            "peak_rss_bytes": peak_rss_bytes(),
        },
    )


def restrict(whole: Path, directory: Path, without: set[str], documents: int) -> Path:
    """Copy a token set without some documents, and of the others the first `documents` visited; 0 means all."""
    directory.mkdir()
    rows = [row for row in read_jsonl(whole / "sequences.jsonl") if row["doc_id"] not in without]
    if documents:
        first = set(list(dict.fromkeys(row["doc_id"] for row in rows))[:documents])
        rows = [row for row in rows if row["doc_id"] in first]
    source, writer = TokenSet(whole), ShardWriter(directory)
    for row in rows:
        part = slice(row["offset"], row["offset"] + row["length"])
        writer.add(
            row["doc_id"], row["order"], source.ids[part].tolist(), source.marks[part].tolist(), row["task"]
        )
    facts = read_json(whole / "tokens.json")
    writer.close(range(len(rows)), {name: facts[name] for name in ("context", "vocabulary")})
    shutil.copytree(whole / "tokenizer", directory / "tokenizer")
    if (whole / "kept.json").exists():
        shutil.copy(whole / "kept.json", directory)
    return directory


if __name__ == "__main__":
    main(read_job())
