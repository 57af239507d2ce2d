"""What a build will probably take: minutes, disk and memory per stage, from simple stated rules.

The rules, per parameter and token: reading costs 2 operations, and going back 2 for the gradients of activations
and 2 for those of weights. Training therefore costs 6, with LoRA 4 since most weights stay as they are; activation
checkpointing reads a second time, a teacher reads what it teaches, and so does the frozen start of dpo. A model
reaches 0.8 of the rate of a plain matrix product. Text has 4.2 bytes a token with a vocabulary of 49,000, with
another one more or less by the logarithm of its size. A model that is streamlined counts as it was before.
They are meant to be right within a factor of two.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinsmith.recipe import EXAMPLE_FILES, OBJECTIVES, Budget, ModelConfig, Recipe, TrainConfig

BYTES_PER_TOKEN, VOCABULARY = 4.2, 49_152
OPERATIONS_OF_READING, OPERATIONS_OF_ACTIVATION_GRADIENTS, OPERATIONS_OF_WEIGHT_GRADIENTS = 2, 2, 2
SHARE_OF_MATMUL_RATE = 0.8
# Weights, gradients and two moments in float32; with adapters the weights, and little else.
TRAINING_BYTES_PER_PARAMETER = {"all": 16.0, "lora": 4.2}
LOGITS_AT_ONCE = 1 << 25
READ_BYTES_PER_SECOND = 2e6
CURATE_BYTES_PER_SECOND = 0.6e6
TOKENIZE_BYTES_PER_SECOND = 2e6
COMPRESSED = 0.45
BASE_MEMORY_BYTES = 500e6
STREAMING_BYTES = 1e9  # what slices of a corpus take, however big it is
BYTES_PER_PARAMETER = {
    "f16": 2.0,
    "q8_0": 1.07,
    "q6_k": 0.83,
    "q5_k_m": 0.72,
    "q4_k_m": 0.63,
    "q3_k_m": 0.51,
    "float32": 4.0,
    "float16": 2.0,
    "bfloat16": 2.0,
}
# A rival of unknown size is taken to be twice ours.
RIVAL_SIZE = 2.0
TOKENS_PER_PROMPT = 60
TOKENS_PER_EXAM_TEXT = 300
TOKENS_PER_BUILT_QUESTION = 130  # its opening is read anyway


@dataclass(frozen=True)
class _Scale:
    """The numbers that all rules share."""

    corpus_bytes: int
    parameters: int
    teacher: int
    vocabulary: int
    operations_per_second: float
    example_bytes: Mapping[str, int]

    @property
    def bytes_per_token(self) -> float:
        return BYTES_PER_TOKEN * math.log(self.vocabulary) / math.log(VOCABULARY)

    @property
    def tokens(self) -> float:
        return self.corpus_bytes / self.bytes_per_token

    def epoch_tokens(self, recipe: Recipe) -> float:
        """Count the tokens of all sets that the objectives learn from; tasks make about one of each document."""
        from_tasks = self.corpus_bytes if recipe.tasks else 0
        sizes = {tokens: self.example_bytes.get(tokens, 0) + from_tasks for tokens in EXAMPLE_FILES}
        sizes[""] = self.corpus_bytes
        return sum(sizes[OBJECTIVES[name].tokens] for name in recipe.train.shares) / self.bytes_per_token

    def read_seconds(self, tokens: float, size: float = 1.0) -> float:
        return tokens * OPERATIONS_OF_READING * self.parameters * size / self.operations_per_second

    def training_tokens_per_second(self, config: TrainConfig) -> float:
        shares = [(share, OBJECTIVES[name]) for name, share in config.shares.items()]
        reference = sum(share * spec.reference_passes for share, spec in shares)
        own = OPERATIONS_OF_READING * (1 + config.activation_checkpointing + reference)
        own += OPERATIONS_OF_ACTIVATION_GRADIENTS
        own += OPERATIONS_OF_WEIGHT_GRADIENTS if config.trainable == "all" else 0
        taught = OPERATIONS_OF_READING * sum(share * spec.teacher_passes for share, spec in shares)
        return self.operations_per_second / (own * self.parameters + taught * self.teacher)


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


def estimate(
    recipe: Recipe,
    corpus_bytes: int,
    parameters: int,
    gflops: float,
    teacher: int = 0,
    example_bytes: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Return a row {stage, minutes, disk_bytes, memory_bytes, tokens} per stage, in order.

    `parameters` are those of the model, `teacher` those of its teacher. `example_bytes` gives the size of the
    example files of each token set.
    """
    rate = gflops * 1e9 * SHARE_OF_MATMUL_RATE
    scale = _Scale(
        corpus_bytes, parameters, teacher, _vocabulary(recipe.model), rate, dict(example_bytes or {})
    )
    rules = {
        "ingest": _ingest,
        "curate": _curate,
        "split": _split,
        "refine": _refine,
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


def _vocabulary(model: ModelConfig) -> int:
    size = re.fullmatch(r"bpe@([0-9]+)(k?)", model.tokenizer)
    return int(size[1]) * (1000 if size[2] else 1) if size else VOCABULARY


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


def _refine(recipe: Recipe, scale: _Scale) -> _Rule:
    config, corpus = recipe.refine, scale.corpus_bytes
    asked = sum(getattr(config, name) != type(getattr(config, name))() for name in type(config).model_fields)
    teachers = [config.score.teacher] if config.score.kind == "teacher" else []
    teachers += [config.synthesis.teacher] if config.synthesis.items else []
    waiting = 60 * sum(teacher.max_minutes for teacher in teachers)
    seconds = 2 + asked * corpus / CURATE_BYTES_PER_SECOND + waiting
    return seconds, corpus * COMPRESSED, BASE_MEMORY_BYTES + STREAMING_BYTES, 0


def _tokenize(recipe: Recipe, scale: _Scale) -> _Rule:
    # Four bytes for the token, one for whether it is a target.
    memory = BASE_MEMORY_BYTES + 2 * scale.corpus_bytes
    return 3 + scale.corpus_bytes / TOKENIZE_BYTES_PER_SECOND, 5 * scale.tokens, memory, scale.tokens


def _train(recipe: Recipe, scale: _Scale) -> _Rule:
    config = recipe.train
    budget, rate = Budget.parse(config.budget), scale.training_tokens_per_second(config)
    tokens = {
        "seconds": budget.amount * rate,
        "tokens": budget.amount,
        "steps": budget.amount * config.batch_tokens,
        "epochs": budget.amount * scale.epoch_tokens(recipe),
    }[budget.kind]
    state = TRAINING_BYTES_PER_PARAMETER[config.trainable] * scale.parameters
    # Beside the state a piece of a micro-batch's logits a few times over, and the teacher in float32.
    logits = min(config.micro_rows * recipe.tokenize.context * scale.vocabulary, LOGITS_AT_ONCE)
    memory = BASE_MEMORY_BYTES + state + 3 * 4 * logits + 4 * scale.teacher
    # The model, and one checkpoint with its moments while it runs.
    return 10 + tokens / rate, state, memory, tokens


def _package(recipe: Recipe, scale: _Scale) -> _Rule:
    config = recipe.package
    size = sum(BYTES_PER_PARAMETER[f] for f in (*config.formats, config.precision))
    readers = len(config.formats) + 3  # trained, saved, server
    tokens = (config.parity_positions + config.parity_prompts * TOKENS_PER_PROMPT) * readers
    memory = BASE_MEMORY_BYTES + 10 * scale.parameters
    return 15 + scale.read_seconds(tokens), size * scale.parameters, memory, tokens


def _evaluate(recipe: Recipe, scale: _Scale) -> _Rule:
    config = recipe.evaluate
    bits = config.documents * config.characters / scale.bytes_per_token
    # The examples shown before a question are the same for all items, so they are read once.
    exam = len(recipe.tasks) * config.exam_items * len(config.shots) * TOKENS_PER_EXAM_TEXT
    built = 2 * config.built_items * TOKENS_PER_BUILT_QUESTION
    tokens = bits + exam + built
    # Ours and its base, those of our GGUF files that are scored, and each rival.
    files = len(recipe.package.formats) if config.ladder else int(config.quantised)
    sizes = [1.0, 1.0] + [1.0] * files + [RIVAL_SIZE] * len(config.rivals)
    seconds = sum(scale.read_seconds(tokens, size) for size in sizes)
    memory = BASE_MEMORY_BYTES + 4 * scale.parameters * max(sizes)
    return 20 + seconds, 5e6, memory, tokens * len(sizes)


def _report(recipe: Recipe, scale: _Scale) -> _Rule:
    # Hard links of what package wrote take no room.
    return 2, 2e6, BASE_MEMORY_BYTES, 0
