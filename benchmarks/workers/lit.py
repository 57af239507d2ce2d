"""Train with LitGPT: its model, loss, LoRA and Fabric in the loop of its `finetune` programs.

Those programs ask for a data module, print each iteration, validate and generate samples; the loop here is theirs
without that, which is in LitGPT's favour. Input and output embeddings are tied as in its `pretrain` (its
`finetune` would train 28 million parameters more), and gradients are clipped as there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from litgpt import lora
from litgpt.config import Config
from litgpt.data.base import get_sft_collate_fn
from litgpt.model import GPT
from litgpt.scripts.convert_hf_checkpoint import convert_hf_checkpoint
from litgpt.utils import chunked_cross_entropy, load_checkpoint
from torch.utils.data import DataLoader

from benchmarks.workers.job import Job, Stamps, read_job, write_json, write_result

_NAME = "SmolLM2-135M-Instruct"


def main(job: Job) -> None:
    """Run a job: convert the checkpoint, or train."""
    if job.more.get("convert"):
        convert_hf_checkpoint(Path(job.model), model_name=_NAME)
        write_json(job, {})
        return
    torch.set_num_threads(job.threads)
    precision = {"float32": "32-true", "bfloat16": "bf16-mixed"}[job.precision]
    fabric = lightning.Fabric(accelerator="auto", devices=1, precision=precision)
    model = _open(fabric, job)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = fabric.setup_optimizers(
        torch.optim.AdamW(trainable, lr=job.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    )
    batches = iter(_Loader(fabric, job))
    stamps, losses, tokens = Stamps(), list[float](), list[int]()
    stamps.mark()
    for _ in range(job.warmup + job.steps):
        loss, count = _step(fabric, model, optimizer, job, batches)
        stamps.mark()
        losses.append(loss)
        tokens.append(count)
    write_result(job, stamps, losses=losses, tokens=tokens, packages=("torch", "litgpt", "lightning"))


def _open(fabric: lightning.Fabric, job: Job) -> torch.nn.Module:
    if job.trainable == "lora":
        parts = {
            f"lora_{part}": True for part in ("query", "key", "value", "projection", "mlp")
        }  # not the head
        model = lora.GPT(lora.Config.from_name(_NAME, lora_r=16, lora_alpha=32, lora_dropout=0.0, **parts))
        lora.mark_only_lora_as_trainable(model)
    else:
        model = GPT(Config.from_name(_NAME))
    load_checkpoint(fabric, model, Path(job.model) / "lit_model.pth", strict=job.trainable == "all")
    head = model.lm_head.linear if job.trainable == "lora" else model.lm_head
    model.transformer.wte.weight = head.weight
    model.max_seq_length = job.length
    wrapped: torch.nn.Module = fabric.setup(torch.compile(model) if job.compiled else model)
    return wrapped.train()


class _Loader:
    """LitGPT's collation over the sequences, again and again: it pads to the longest of a micro-batch."""

    def __init__(self, fabric: lightning.Fabric, job: Job) -> None:
        counts = {"raw": 0, "raw_plus_prompt_template": 0}
        rows = []
        for ids in job.sequences:
            tensor = torch.tensor(ids)
            rows.append({"input_ids": tensor, "labels": tensor, "token_counts": {**counts, "raw": len(ids)}})
        loader: Any = DataLoader(rows, batch_size=job.micro, collate_fn=get_sft_collate_fn())  # type: ignore[arg-type]
        self.loader = fabric.setup_dataloaders(loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for _ in itertools.count():
            yield from self.loader


def _step(
    fabric: lightning.Fabric, model: Any, optimizer: Any, job: Job, batches: Iterator[dict[str, Any]]
) -> tuple[float, int]:
    """Make one step; return its mean loss and its real tokens."""
    parts, total, tokens = job.batch // job.micro, 0.0, 0
    for part in range(parts):
        batch = next(batches)
        ids, labels = batch["input_ids"], batch["labels"]
        with fabric.no_backward_sync(model, enabled=part + 1 < parts):
            if job.trainable == "lora":  # as finetune/lora.py, in chunks of the output layer
                logits = model(ids, lm_head_chunk_size=128)
                logits[-1] = logits[-1][..., :-1, :]
            else:  # as finetune/full.py
                logits = model(ids)[..., :-1, :]
            loss = chunked_cross_entropy(logits, labels[..., 1:])
            fabric.backward(loss / parts)
        total += float(loss.detach()) / parts
        tokens += int(batch["token_counts"]["raw"].sum())
    fabric.clip_gradients(model, optimizer, max_norm=1.0)
    optimizer.step()
    optimizer.zero_grad()
    return total, tokens


if __name__ == "__main__":
    main(read_job())
