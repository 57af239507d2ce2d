"""Bits per byte of held-out documents: seconds and memory, against a plain transformers loop and llama.cpp."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import WORK
from benchmarks.peers import OURS
from benchmarks.prepare import build_until, texts_of
from benchmarks.processes import run_worker
from benchmarks.ratios import ratio_spread, spread
from benchmarks.workers.job import Job
from tinsmith.base.assets import resolve_model
from tinsmith.tokens.encoding import context_token, encode
from tinsmith.tokens.tokenizer import load_tokenizer

_DOCUMENTS, _CHARACTERS, _ROUNDS = 100, 600, 4
_MODELS = ("smollm2-135m", "gemma-3-270m")
_SAME = 0.02  # of the bits: bfloat16 and llama.cpp's 8-bit activations round, other work would differ by more


class _Way(NamedTuple):
    worker: str
    precision: str
    more: dict[str, str]


_WAYS = {
    "Tinsmith, bfloat16": _Way("bits", "bfloat16", {"way": "tinsmith"}),
    "Tinsmith, float32": _Way("bits", "float32", {"way": "tinsmith"}),
    "transformers loop, bfloat16": _Way("bits", "bfloat16", {"way": "plain"}),
    "transformers loop, float32": _Way("bits", "float32", {"way": "plain"}),
    "llama.cpp, the file's own 4 bits": _Way("llama_bits", "", {}),
}


def run(*, quick: bool) -> None:
    """Write `results/bits_speed`. Each round takes other documents, each way starts first in turn."""
    texts = _texts(12 if quick else _DOCUMENTS)
    rounds = 2 if quick else _ROUNDS
    facts: dict[str, Any] = {"characters": _CHARACTERS, "documents": len(texts), "rounds": []}
    lines = []
    for model in _MODELS:
        found = _measure(model, texts, rounds, facts)
        ours, exact = (
            [row["seconds"] for row in found[f"Tinsmith, {each}"]] for each in ("bfloat16", "float32")
        )
        for way, rows in found.items():
            seconds = [row["seconds"] for row in rows]
            bits = sum(row["bits"] for row in rows) / sum(row["bytes"] for row in rows)
            over = max(row["peak_rss_bytes"] - row.get("weight_bytes", 0) for row in rows)
            shown = f"{over / 1e9:.2f}" if "weight_bytes" in rows[0] else ""
            rate = spread([row["tokens"] / row["seconds"] for row in rows])
            ratios = [ratio_spread(seconds, ours), ratio_spread(seconds, exact)]
            lines.append([model, way, f"{bits:.4f}", str(rate), *ratios, shown])
    header = ["model", "way", "bits per byte", "tokens/s", *_RATIOS, "GB over the weights"]
    title = f"Bits per byte of {len(texts)} held-out documents, {_CHARACTERS} characters each"
    name = "bits_speed-quick" if quick else "bits_speed"
    write_evidence(name, title, facts, [*table(header, lines), *_NOTES])


_RATIOS = ("Tinsmith in bfloat16: times as fast", "in float32")
_NOTES = [
    "Fresh processes in turn, a quarter of the documents a round; loading and one warm-up text are not timed. All ways "
    "read the same token ids of one file of weights; llama.cpp computes with that file's 4 bits and 8-bit activations "
    "and gives the logits of all positions, as its perplexity tool takes them.",
]


def _texts(count: int) -> list[str]:
    run_directory = build_until("continued", "split")
    held_out = texts_of(run_directory, "held_out")
    chosen = random.Random(5).sample(sorted(held_out), min(count, len(held_out)))
    return [held_out[name][:_CHARACTERS] for name in chosen]


def _measure(
    model: str, texts: list[str], rounds: int, facts: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    path = resolve_model(model).path
    tokenizer = load_tokenizer(path)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in _WAYS}
    names = list(_WAYS)
    for number in range(rounds):
        own = texts[number::rounds]
        sequences = [[context_token(tokenizer), *encode(tokenizer, text)] for text in own]
        data = WORK / f"bits-{model}.json"
        data.write_text(json.dumps(sequences))
        for way in names[number % len(names) :] + names[: number % len(names)]:
            worker, precision, more = _WAYS[way]
            job = Job("", str(path), str(data), 1, 1, 0, precision=precision, more=dict(more))
            row = run_worker(OURS, worker, job, cache=way)
            row |= {"tokens": sum(map(len, sequences)), "bytes": sum(len(text.encode()) for text in own)}
            found[way].append(row)
            facts["rounds"].append({"model": model, "way": way, "round": number, **row})
            print(f"{model}, {way}: {row['tokens'] / row['seconds']:,.0f} tokens/s", flush=True)
        bits = [found[way][number]["bits"] for way in names]
        if max(bits) > (1 + _SAME) * min(bits):
            raise SystemExit(f"{model}: the ways differ in what they computed: {bits}")
    return found
