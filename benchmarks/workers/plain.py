"""Train with a plain loop: AdamW, warm-up and cosine over the budget's time, blocks of 512 tokens in random order.

The loop that people write: stock model, SDPA, one loss over the micro-batch, fused AdamW with betas 0.9 and 0.95,
weight decay 0.1, gradients clipped at 1. Since its schedule follows the clock it ends on the second, like Tinsmith's.
"""

from __future__ import annotations

import math
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.workers.job import Job, Stamps, read_job, write_result

_WARMUP = 0.05


def main(job: Job) -> None:
    """Run a job for `seconds`."""
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32).train()
    model.config.use_cache = False
    blocks = torch.tensor(job.sequences)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=job.learning_rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    stamps, losses, order = Stamps(), list[float](), torch.empty(0, dtype=torch.long)
    stamps.mark()
    while (left := job.seconds - (time.perf_counter() - stamps.wall[0])) > 0:
        if len(order) < job.batch:
            order = torch.randperm(len(blocks))
        chosen, order = order[: job.batch], order[job.batch :]
        rate = job.learning_rate * _schedule(1 - left / job.seconds)
        losses.append(_step(model, optimizer, blocks[chosen], job.micro, rate))
        stamps.mark()
    model.save_pretrained(job.save)
    AutoTokenizer.from_pretrained(job.model).save_pretrained(job.save)
    tokens = [job.batch * blocks.shape[1]] * len(losses)
    write_result(job, stamps, losses=losses, tokens=tokens, packages=("torch", "transformers"))


def _step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, ids: torch.Tensor, micro: int, rate: float
) -> float:
    total = 0.0
    for part in ids.split(micro):
        loss = model(input_ids=part, labels=part).loss * len(part) / len(ids)
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def _schedule(progress: float) -> float:
    if progress < _WARMUP:
        return max(progress, 0.01) / _WARMUP
    return 0.5 * (1 + math.cos(math.pi * (progress - _WARMUP) / (1 - _WARMUP)))


if __name__ == "__main__":
    main(read_job())
