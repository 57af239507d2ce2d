"""General tests through lm-eval: our scorer against its own Hugging Face model, item by item, and the speed of both."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import torch

from benchmarks.evidence import table, write_evidence
from benchmarks.paths import DATA
from benchmarks.processes import THREADS
from tinsmith.base.assets import resolve_model
from tinsmith.evaluate.general_files import Asked, GeneralRow, draw, read_general
from tinsmith.evaluate.lm_eval_runner import ask, harness
from tinsmith.evaluate.lm_eval_runner import run as run_harness
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.model.load import load_model
from tinsmith.recipe import GeneralConfig
from tinsmith.tokens.tokenizer import load_tokenizer

_SEED = 7
_BATCHES = (1, 8, 32)
_ITEMS, _SAMPLE = 100, 16  # asked of each test; on so many the fastest batch of lm-eval is looked for
_FILES = {
    "arc_easy": ("arc", "mcq-suite/ARC-Easy/test.json"),
    "openbookqa": ("openbookqa", "mcq-suite/openbookqa/test.json"),
    "boolq": ("boolq", "mcq-suite/boolq/test.json"),
    "blimp": ("blimp", "blimp/data"),
}
Row = dict[str, Any]


def run(*, quick: bool, rounds: int) -> None:
    """Write `results/agreement`: shares of equal choices, the largest difference in nats, items a second of both."""
    torch.set_num_threads(THREADS)
    tests = _tests(4 if quick else _ITEMS)
    path = resolve_model("smollm2-135m").path
    model, tokenizer = load_model(path, dtype=torch.float32).eval(), load_tokenizer(path)
    scorer = Scorer(model, name="smollm2-135m")

    def ours(asked: Asked) -> list[GeneralRow]:
        return ask(scorer, tokenizer, asked)

    def peer(batch: int) -> Callable[[Asked], list[GeneralRow]]:
        def answer(asked: Asked) -> list[GeneralRow]:
            with harness():
                from lm_eval.models.huggingface import HFLM

                one = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, device="cpu")
                return run_harness(one, asked)

        return answer

    rows = []
    for name, test in tests.items():
        asked = {name: test}
        batch = 8 if quick else _best({name: (test[0], test[1][:_SAMPLE])}, peer, _BATCHES)
        rows.append(_measure(asked, {"ours": ours, "lm-eval": peer(batch)}, batch, 1 if quick else rounds))
    versions = {package: version(package) for package in ("lm_eval", "torch", "transformers")}
    result = "agreement-quick" if quick else "agreement"
    write_evidence(
        result,
        "General tests: our scorer and lm-eval's own",
        {"rows": rows, "versions": versions},
        _body(rows),
    )


def _tests(limit: int) -> Asked:
    tests = [
        GeneralConfig(name=name, kind=kind, path=str(DATA / path)) for name, (kind, path) in _FILES.items()
    ]
    found = read_general(tests)
    return {test.name: (test.kind, draw(found[test.name], limit, seed=_SEED)) for test in tests}


def _best(
    asked: Asked, peer: Callable[[int], Callable[[Asked], list[GeneralRow]]], sizes: Sequence[int]
) -> int:
    """Return the batch size with which lm-eval's own model is fastest on a sample."""
    peer(sizes[0])(asked)  # the first call pays for imports
    return min(sizes, key=lambda size: _timed(peer(size), asked)[0])


def _timed(answer: Callable[[Asked], list[GeneralRow]], asked: Asked) -> tuple[float, list[GeneralRow]]:
    began = time.perf_counter()
    rows = answer(asked)
    return time.perf_counter() - began, rows


def _measure(
    asked: Asked, subjects: dict[str, Callable[[Asked], list[GeneralRow]]], batch: int, rounds: int
) -> Row:
    """Let both answer all items in each round, in an order drawn for each round."""
    draws = random.Random(_SEED)
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    answers: dict[str, list[GeneralRow]] = {}
    for _ in range(rounds):
        for name in draws.sample(sorted(subjects), len(subjects)):
            took, answers[name] = _timed(subjects[name], asked)
            seconds[name].append(took)
    pairs = list(zip(answers["ours"], answers["lm-eval"], strict=True))
    row = {
        "test": next(iter(asked)),
        "items": len(pairs),
        "agree": sum(a["prediction"] == b["prediction"] for a, b in pairs) / len(pairs),
        "largest_nats": max(
            abs(x - y) for a, b in pairs for x, y in zip(a["scores"], b["scores"], strict=True)
        ),
        "accuracy": {name: sum(one["correct"] for one in rows) / len(rows) for name, rows in answers.items()},
        "batch": batch,
        "seconds": seconds,
        "items_per_second": {name: len(pairs) / min(took) for name, took in seconds.items()},
    }
    print(f"{row['test']}: agree {row['agree']:.1%}, {row['items_per_second']}", flush=True)
    return row


def _body(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        ours, theirs = row["items_per_second"]["ours"], row["items_per_second"]["lm-eval"]
        lines.append(
            [
                row["test"],
                row["items"],
                f"{row['agree']:.1%}",
                f"{row['largest_nats']:.1e}",
                f"{row['accuracy']['ours']:.1%}",
                f"{ours:.1f}",
                f"{theirs:.1f}",
                row["batch"],
                f"{ours / theirs:.1f}",
            ]
        )
    return [
        "SmolLM2-135M in float32, the same rows through lm-eval's task and prompt for both; fastest of interleaved "
        "rounds, tokenising and lm-eval's own work included. Batch: lm-eval's fastest on a sample. Agree: items whose "
        "likeliest choice is the same.",
        "",
        *table(
            [
                "test",
                "items",
                "agree",
                "nats apart",
                "right",
                "ours, items/s",
                "lm-eval, items/s",
                "batch",
                "times",
            ],
            lines,
        ),
    ]
