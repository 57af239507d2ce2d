"""What a build will probably take: minutes, disk and memory per stage, from simple stated rules.

The rules: training costs 6 and reading 2 operations per parameter and token; a model reaches 0.8 of the rate
of a plain matrix product; text has 4.2 bytes a token. They are meant to be right within a factor of two.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tinsmith.recipe import Budget, Recipe

BYTES_PER_TOKEN = 4.2
OPERATIONS_PER_PARAMETER_TRAINING, OPERATIONS_PER_PARAMETER_READING = 6, 2
SHARE_OF_MATMUL_RATE = 0.8
READ_BYTES_PER_SECOND = 2e6
CURATE_BYTES_PER_SECOND = 0.6e6
TOKENIZE_BYTES_PER_SECOND = 2e6
COMPRESSED = 0.45
BASE_MEMORY_BYTES = 500e6
BYTES_PER_PARAMETER = {
    "f16": 2.0,
    "q8_0": 1.07,
    "q4_k_m": 0.63,
    "float32": 4.0,
    "float16": 2.0,
    "bfloat16": 2.0,
}
# A rival of unknown size is taken to be twice ours.
RIVAL_SIZE = 2.0
TOKENS_PER_PROMPT = 60
TOKENS_PER_EXAM_TEXT = 300


@dataclass(frozen=True)
class _Scale:
    """The numbers that all rules share."""

    corpus_bytes: int
    parameters: int
    operations_per_second: float

    @property
    def tokens(self) -> float:
        return self.corpus_bytes / BYTES_PER_TOKEN

    def read_seconds(self, tokens: float, size: float = 1.0) -> float:
        return tokens * OPERATIONS_PER_PARAMETER_READING * self.parameters * size / self.operations_per_second

    def training_tokens_per_second(self) -> float:
        return self.operations_per_second / (OPERATIONS_PER_PARAMETER_TRAINING * self.parameters)


def measure_gflops(seconds: float = 0.5, size: int = 1024) -> float:
    """Time square float32 products and return 1e9 operations a second; the best of the runs counts."""
    import numpy as np

    matrix = np.random.default_rng(0).random((size, size), dtype=np.float32)
    best, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end or not best:
        start = time.monotonic()
        matrix @ matrix
        best = max(best, 2 * size**3 / max(time.monotonic() - start, 1e-9) / 1e9)
    return best


def estimate(recipe: Recipe, corpus_bytes: int, parameters: int, gflops: float) -> list[dict[str, Any]]:
    """Return a row {stage, minutes, disk_bytes, memory_bytes, tokens} per stage, in order."""
    scale = _Scale(corpus_bytes, parameters, gflops * 1e9 * SHARE_OF_MATMUL_RATE)
    rules = {
        "ingest": _ingest,
        "curate": _curate,
        "split": _split,
        "tokenize": _tokenize,
        "train": _train,
        "package": _package,
        "evaluate": _evaluate,
        "report": _report,
    }
    rows = []
    for stage, rule in rules.items():
        seconds, disk, memory, tokens = rule(recipe, scale)
        row = {"stage": stage, "minutes": seconds / 60, "disk_bytes": int(disk), "memory_bytes": int(memory)}
        rows.append({**row, "tokens": int(tokens)})
    return rows


_Rule = tuple[float, float, float, float]  # seconds, bytes on disk, bytes of memory, tokens


def _ingest(recipe: Recipe, scale: _Scale) -> _Rule:
    corpus = scale.corpus_bytes
    return 3 + corpus / READ_BYTES_PER_SECOND, corpus * COMPRESSED, BASE_MEMORY_BYTES + 3 * corpus, 0


def _curate(recipe: Recipe, scale: _Scale) -> _Rule:
    corpus = scale.corpus_bytes
    return 5 + corpus / CURATE_BYTES_PER_SECOND, corpus * COMPRESSED, BASE_MEMORY_BYTES + 6 * corpus, 0


def _split(recipe: Recipe, scale: _Scale) -> _Rule:
    corpus = scale.corpus_bytes
    return 2 + corpus / CURATE_BYTES_PER_SECOND, corpus * COMPRESSED, BASE_MEMORY_BYTES + 10 * corpus, 0


def _tokenize(recipe: Recipe, scale: _Scale) -> _Rule:
    # Four bytes for the token, one for whether it is a target.
    memory = BASE_MEMORY_BYTES + 2 * scale.corpus_bytes
    return 3 + scale.corpus_bytes / TOKENIZE_BYTES_PER_SECOND, 5 * scale.tokens, memory, scale.tokens


def _train(recipe: Recipe, scale: _Scale) -> _Rule:
    config = recipe.train
    budget, rate = Budget.parse(config.budget), scale.training_tokens_per_second()
    tokens = {
        "seconds": budget.amount * rate,
        "tokens": budget.amount,
        "steps": budget.amount * config.batch_tokens,
        "epochs": budget.amount * scale.tokens,
    }[budget.kind]
    # Weights, gradients and two moments in float32, and a micro-batch's logits a few times over.
    logits = config.micro_rows * recipe.tokenize.context * 50_000 * 4 * 3
    memory = BASE_MEMORY_BYTES + 16 * scale.parameters + logits
    # The model, and one checkpoint with its moments while it runs.
    return 10 + tokens / rate, 16 * scale.parameters, memory, tokens


def _package(recipe: Recipe, scale: _Scale) -> _Rule:
    config = recipe.package
    size = sum(BYTES_PER_PARAMETER[f] for f in (*config.formats, config.precision))
    readers = len(config.formats) + 3  # trained, saved, server
    tokens = (config.parity_positions + config.parity_prompts * TOKENS_PER_PROMPT) * readers
    memory = BASE_MEMORY_BYTES + 10 * scale.parameters
    return 15 + scale.read_seconds(tokens), size * scale.parameters, memory, tokens


def _evaluate(recipe: Recipe, scale: _Scale) -> _Rule:
    config = recipe.evaluate
    bits = config.documents * config.characters / BYTES_PER_TOKEN
    # The examples shown before a question are the same for all items, so they are read once.
    exam = len(recipe.tasks) * config.exam_items * len(config.shots) * TOKENS_PER_EXAM_TEXT
    tokens = bits + exam
    # Ours and its base, our smallest GGUF where it is scored, and each rival.
    sizes = [1.0, 1.0] + [1.0] * config.quantised + [RIVAL_SIZE] * len(config.rivals)
    seconds = sum(scale.read_seconds(tokens, size) for size in sizes)
    memory = BASE_MEMORY_BYTES + 4 * scale.parameters * max(sizes)
    return 20 + seconds, 5e6, memory, tokens * len(sizes)


def _report(recipe: Recipe, scale: _Scale) -> _Rule:
    # Hard links of what package wrote take no room.
    return 2, 2e6, BASE_MEMORY_BYTES, 0
