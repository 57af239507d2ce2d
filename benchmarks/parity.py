"""Twelve planted faults of exported models, sound pairs, and how long `tinsmith parity` takes at 1B."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.base_families import base_configs, random_base
from benchmarks.evidence import table, write_evidence
from benchmarks.model_faults import FAULTS
from benchmarks.paths import WORK
from benchmarks.prepare import base_directory
from tinsmith.base.assets import resolve_model
from tinsmith.base.progress import SilentProgress
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.parity.command import compare
from tinsmith.tokens.tokenizer import load_tokenizer

_FORMATS = ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m")
_TINY_FORMATS = ("f16", "q8_0", "q6_k")  # random weights in fewer bits answer otherwise by themselves


class Compared(NamedTuple):
    """A pair, what was expected, the kinds that were found, the seconds and the mean KL."""

    pair: str
    expected: str
    found: list[str]
    seconds: float
    kl: float | None


def run(*, quick: bool) -> None:
    """Write `results/parity`."""
    place = WORK / "parity"
    shutil.rmtree(place, ignore_errors=True)
    source = base_directory()
    faults = [
        _compare(name, fault.kind, *fault.plant(source, _fresh(place))) for name, fault in FAULTS.items()
    ]
    sound = [_compare(name, "", a, b) for name, a, b in _sound_pairs(source, place, quick=quick)]
    large = [] if quick else [_compare("a billion parameters, directory and q8_0", "", *_billion(place))]
    named = sum(row.found == [row.expected] for row in faults)
    alarms = [row for row in (*sound, *large) if row.found]
    body = [
        f"{named} of {len(faults)} planted faults are named by their kind alone; "
        f"{len(alarms)} of {len(sound) + len(large)} sound pairs raise an alarm.",
        "",
        *table(
            ["planted in SmolLM2-135M", "found", "seconds"],
            [[row.pair, ", ".join(row.found) or "nothing", f"{row.seconds:.0f}"] for row in faults],
        ),
        *table(
            ["sound pair", "found", "mean KL, nats", "seconds"],
            [
                [row.pair, ", ".join(row.found) or "nothing", _number(row.kl), f"{row.seconds:.0f}"]
                for row in (*sound, *large)
            ],
        ),
    ]
    facts = {
        "faults": [row._asdict() for row in faults],
        "sound": [row._asdict() for row in (*sound, *large)],
    }
    write_evidence("parity", "Comparing any two models: planted faults and sound pairs", facts, body)
    shutil.rmtree(place, ignore_errors=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _fresh(place: Path) -> Path:
    """Return an empty directory for one pair."""
    path = place / "pair"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def _compare(pair: str, expected: str, a: Path, b: Path) -> Compared:
    began = time.monotonic()
    found = compare(str(a), str(b), SilentProgress())
    seconds = time.monotonic() - began
    kinds = sorted({finding.kind for finding in found.findings})
    print(f"  {pair}: {kinds or 'nothing'}, {seconds:.0f} s", flush=True)
    return Compared(pair, expected, kinds, seconds, found.figures.mean_kl if found.figures else None)


def _sound_pairs(source: Path, place: Path, *, quick: bool) -> Iterator[tuple[str, Path, Path]]:
    """Yield pairs without a fault: of real weights in all formats, and of each family with random ones."""
    tokenizer = load_tokenizer(source)
    for format in _FORMATS[:1] if quick else _FORMATS:
        out = _fresh(place) / f"{format}.gguf"
        write_gguf(source, out, format)
        yield f"SmolLM2-135M, directory and {format}", source, out
    published = resolve_model("smollm2-135m").path
    yield "SmolLM2-135M, its published file and the directory", published, source
    half = _fresh(place) / "half"
    save_model(load_model(source), tokenizer, half, "bfloat16")
    yield "SmolLM2-135M, float32 and bfloat16", source, half
    if not quick:
        gemma = resolve_model("gemma-3-270m").path
        again = _fresh(place) / "again"
        save_model(load_model(gemma), load_tokenizer(gemma), again, "bfloat16")
        yield "Gemma-3-270M, its published file and the directory made of it", gemma, again
    small = load_tokenizer(source)
    for name, config in list(base_configs().items())[: 2 if quick else None]:
        config.vocab_size = len(small)
        for format in _TINY_FORMATS:
            model = _fresh(place) / "model"
            save_model(random_base(config), small, model, "float32")
            write_gguf(model, model.parent / "b.gguf", format)
            yield f"{name}, random, directory and {format}", model, model.parent / "b.gguf"


def _billion(place: Path) -> tuple[Path, Path]:
    """Write random weights of a llama of 1.1 billion parameters in bfloat16, and its file of eight bits."""
    tokenizer = load_tokenizer(resolve_model("smollm2-135m").path)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**sizes), dtype=torch.bfloat16)
    out = _fresh(place)
    save_model(model, tokenizer, out / "model", "bfloat16")
    del model
    write_gguf(out / "model", out / "b.gguf", "q8_0")
    return out / "model", out / "b.gguf"
