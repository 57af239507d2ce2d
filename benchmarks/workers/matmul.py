"""Measure the rate of matrix products at a model's shapes: the floor under any tool's step."""

from __future__ import annotations

import time

import torch
from transformers import AutoConfig

from benchmarks.workers.job import Job, read_job, write_json

_SECONDS = 0.5  # for each shape


def main(job: Job) -> None:
    """Write GFLOP/s over the shapes of a step's forward pass, each weighted by its FLOPs in the model."""
    torch.set_num_threads(job.threads)
    config, rows = AutoConfig.from_pretrained(job.model), job.batch * job.length
    width, inner = config.hidden_size, config.intermediate_size
    keys = width * config.num_key_value_heads // config.num_attention_heads
    counts = {(width, width): 2, (width, keys): 2, (width, inner): 2, (inner, width): 1}
    shapes = {shape: count * config.num_hidden_layers for shape, count in counts.items()}
    shapes[width, config.vocab_size] = 1
    seconds = flops = 0.0
    for (inputs, outputs), count in shapes.items():
        each = _seconds(rows, inputs, outputs, getattr(torch, job.precision))
        seconds += count * each
        flops += count * 2.0 * rows * inputs * outputs
    write_json(job, {"gflops": flops / seconds / 1e9})


def _seconds(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> float:
    """Return the seconds of one product (rows, inputs) @ (inputs, outputs), the mean over half a second."""
    left, right = torch.randn(rows, inputs, dtype=dtype), torch.randn(outputs, inputs, dtype=dtype)
    left @ right.T
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < _SECONDS:
        left @ right.T
        count += 1
    return (time.perf_counter() - start) / count


if __name__ == "__main__":
    main(read_job())
