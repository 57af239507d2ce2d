"""Make the data and the model that all subjects share: real documents, tokenised once by Tinsmith."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.paths import HERE, WORK
from benchmarks.processes import run_worker
from benchmarks.workers.job import Job
from tinsmith import load_recipe
from tinsmith.base.assets import resolve_model
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import default_progress
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.pipeline.build import build
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer

LENGTH = 512
_BLOCKS = 400
_SEED = 11


def build_until(recipe: str, stage: str, *overrides: str) -> Path:
    """Build one of the benchmarks' recipes up to a stage, in the work directory; return its run directory."""
    path = HERE / "recipes" / f"{recipe}.toml"
    return build(
        load_recipe(path, (f"runs={WORK / 'runs'}", *overrides)), progress=default_progress(), until=stage
    )


def base_directory() -> Path:
    """Return the base model as a Hugging Face directory in float32, which every peer opens."""
    path = WORK / "smollm2-135m"
    if not (path / "done").exists():
        source = resolve_model("smollm2-135m").path
        tokenizer = load_tokenizer(source)
        save_model(load_model(source), tokenizer, path, "float32")
        save_tokenizer(tokenizer, path)
        (path / "done").touch()
    return path


def litgpt_directory(base: Path) -> Path:
    """Return the base as LitGPT's own checkpoint, made by its converter."""
    path = WORK / "litgpt-smollm2-135m"
    if not (path / "lit_model.pth").exists():
        path.mkdir(exist_ok=True)
        for file in base.iterdir():
            if not (path / file.name).exists():
                (path / file.name).symlink_to(file)
        job = Job(out="", model=str(path), data="", batch=1, micro=1, steps=0, more={"convert": True})
        run_worker("litgpt", "lit", job)
    return path


def documents_of(run: Path) -> dict[str, list[int]]:
    """Return the tokens of each training document, whole: begin-of-text token, text, end-of-text token."""
    ids = np.memmap(run / "tokenize" / "tokens.bin", dtype="<u4", mode="r")
    rows = sorted(
        read_jsonl(run / "tokenize" / "sequences.jsonl"), key=lambda row: (row["doc_id"], row["order"])
    )
    return {
        doc_id: [int(token) for row in parts for token in ids[row["offset"] : row["offset"] + row["length"]]]
        for doc_id, parts in itertools.groupby(rows, key=lambda row: str(row["doc_id"]))
    }


def write_blocks(run: Path) -> Path:
    """Write blocks of exactly 512 tokens: documents in random order, end to end."""
    path = WORK / "blocks.json"
    if not path.exists():
        path.write_text(json.dumps(cut_blocks(_shuffled(documents_of(run)))[:_BLOCKS]))
    return path


def write_documents(run: Path) -> Path:
    """Write documents of real, differing lengths, each cut after 512 tokens."""
    path = WORK / "documents.json"
    if not path.exists():
        documents = [ids[:LENGTH] for ids in _shuffled(documents_of(run))]
        path.write_text(json.dumps(documents))
    return path


def texts_of(run: Path, part: str) -> dict[str, str]:
    """Return the texts of one side of the split by doc_id."""
    table = pq.read_table(run / "split" / "documents.parquet", columns=["doc_id", "text", "part"])
    return {row["doc_id"]: row["text"] for row in table.to_pylist() if row["part"] == part}


def validation_of(run: Path, count: int) -> tuple[set[str], set[str]]:
    """Draw `count` documents of the training side for tuning; return them, and all that resemble them.

    Near-duplicates share a cluster, and a cluster is kept out of tuning's training whole.
    """
    table = pq.read_table(
        run / "split" / "documents.parquet", columns=["doc_id", "cluster", "part"]
    ).to_pylist()
    clusters: dict[str, list[str]] = {}
    for row in table:
        if row["part"] == "train":
            clusters.setdefault(row["cluster"], []).append(row["doc_id"])
    chosen = random.Random(_SEED).sample(sorted(clusters), count)
    return {min(clusters[name]) for name in chosen}, {each for name in chosen for each in clusters[name]}


def cut_blocks(documents: Sequence[list[int]]) -> list[list[int]]:
    """Lay documents end to end and cut the whole into blocks of 512 tokens; the rest is left out."""
    stream = list(itertools.chain.from_iterable(documents))
    return [stream[start : start + LENGTH] for start in range(0, len(stream) - LENGTH + 1, LENGTH)]


def _shuffled(documents: dict[str, list[int]]) -> list[list[int]]:
    return [documents[name] for name in random.Random(_SEED).sample(sorted(documents), len(documents))]
