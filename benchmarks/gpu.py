"""Model FLOP utilisation on a GPU, against transformers Trainer with Liger and flash attention."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks import peers, prepare
from benchmarks.evidence import table, write_evidence
from benchmarks.flops import train_flops_per_token
from benchmarks.paths import WORK
from benchmarks.processes import run_worker
from benchmarks.ratios import ratio_spread, spread
from benchmarks.workers.job import Job
from tinsmith.base.files import read_json
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer

_LENGTH, _BATCH, _ROUNDS, _STEPS, _WARMUP = 2048, 32, 3, 10, 3
_TRAINER = "transformers Trainer, Liger, flash attention"
# Hidden width, inner width, layers, heads, key-value heads: the shapes of SmolLM2.
_SHAPES = {"135M": (576, 1536, 30, 9, 3), "360M": (960, 2560, 32, 15, 5), "1.7B": (2048, 8192, 24, 32, 32)}
# Dense bfloat16 FLOP/s by NVIDIA's data sheets.
_PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}


def run() -> None:
    """Write `results/gpu`, or say that there is no GPU."""
    if not torch.cuda.is_available():
        print("gpu: needs a GPU with CUDA, and there is none here")
        return
    board = torch.cuda.get_device_name()
    peak = next((rate for name, rate in _PEAKS.items() if name in board.split()), None)
    if peak is None:
        raise SystemExit(f"gpu: the peak of {board} is not known; add it to benchmarks/gpu.py")
    peers.install(["gpu"], ["--no-build-isolation"])
    tokens, lines, shares = _tokens(), [], {}
    for shape in _SHAPES:
        job = _job(_model(shape), tokens)
        cost = train_flops_per_token(read_json(Path(job.model) / "config.json"), length=_LENGTH)
        speeds: dict[str, list[float]] = {"tinsmith": [], _TRAINER: []}
        for _ in range(_ROUNDS):
            for name, (environment, worker) in {
                "tinsmith": (peers.OURS, "ours"),
                _TRAINER: ("gpu", "trainer"),
            }.items():
                result = run_worker(environment, worker, job, cache=name)
                speeds[name].append(result["tokens"] / result["seconds"])
                print(f"{shape}, {name}: {speeds[name][-1]:,.0f} tokens/s", flush=True)
        shares[shape] = {name: [each * cost / peak for each in found] for name, found in speeds.items()}
        ratio = ratio_spread(*shares[shape].values())
        lines.append([shape, *(f"{spread(found).median:.1%}" for found in shares[shape].values()), ratio])
    header = ["shape", "tinsmith", _TRAINER, "tinsmith: times as fast"]
    facts = {"board": board, "peak_flops": peak, "shares": shares}
    write_evidence(
        "gpu", f"Model FLOP utilisation on {board}, bfloat16, sequence 2048", facts, table(header, lines)
    )


def _model(shape: str) -> Path:
    """Return a directory with fresh weights of a shape."""
    path = WORK / f"shape-{shape}"
    if not path.exists():
        hidden, inner, layers, heads, keys = _SHAPES[shape]
        config = LlamaConfig(
            vocab_size=49152,
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=keys,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
        )
        AutoModelForCausalLM.from_config(config).save_pretrained(path)
        save_tokenizer(load_tokenizer(prepare.base_directory()), path)
    return path


def _tokens() -> Path:
    """Write blocks of random tokens: the speed of a dense model does not depend on them."""
    path, draw = WORK / "gpu-blocks.json", random.Random(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = [[draw.randrange(49152) for _ in range(_LENGTH)] for _ in range(_BATCH * (_STEPS + _WARMUP))]
    path.write_text(json.dumps(blocks))
    return path


def _job(model: Path, tokens: Path) -> Job:
    return Job(
        out="",
        model=str(model),
        data=str(tokens),
        batch=_BATCH,
        micro=8,
        steps=_STEPS,
        warmup=_WARMUP,
        length=_LENGTH,
        precision="bfloat16",
        compiled=True,
        more={"liger": True, "attention": "flash_attention_2"},
    )
