"""What a build will probably take: the scale of a recipe, on which each stage's `estimate` states its cost.

Rules per parameter and token: the forward pass costs 2 operations, the backward pass 2 for gradients of activations
and 2 for gradients of weights. A model reaches 0.8 of the rate of a plain matrix product. Text has 4.2 bytes per
token with a vocabulary of 49,000; another vocabulary changes that by the logarithm of its size. A model that is
pruned first counts with its original size. `TIME_FACTOR` and `MEMORY_FACTOR` say how far recorded builds were off.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tinsmith.recipe import ModelConfig

BYTES_PER_TOKEN, VOCABULARY = 4.2, 49_152
FORWARD_OPERATIONS, ACTIVATION_GRADIENT_OPERATIONS, WEIGHT_GRADIENT_OPERATIONS = 2, 2, 2
SHARE_OF_MATMUL_RATE = 0.8
CURATE_BYTES_PER_SECOND = 0.6e6
COMPRESSED = 0.45
BASE_MEMORY_BYTES = 1e9  # a process that has imported everything
# A stage of a recorded build took at most so many times its estimate, or that part of it.
TIME_FACTOR, MEMORY_FACTOR = 4, 2


class Cost(NamedTuple):
    """What a stage will probably take."""

    seconds: float
    disk_bytes: float
    memory_bytes: float
    tokens: float = 0


@dataclass(frozen=True)
class Scale:
    """The sizes and the speed that all estimates share.

    `teacher` counts the parameters of the teacher, `example_bytes` the bytes of the example files of each token set.
    """

    corpus_bytes: int
    parameters: int
    teacher: int
    vocabulary: int
    operations_per_second: float
    example_bytes: Mapping[str, int]

    @property
    def bytes_per_token(self) -> float:
        """Return the bytes of text per token."""
        return BYTES_PER_TOKEN * math.log(self.vocabulary) / math.log(VOCABULARY)

    @property
    def tokens(self) -> float:
        """Return the tokens of the corpus."""
        return self.corpus_bytes / self.bytes_per_token

    def forward_seconds(self, tokens: float, size: float = 1.0) -> float:
        """Return the seconds that a model `size` times ours takes to read tokens."""
        return tokens * FORWARD_OPERATIONS * self.parameters * size / self.operations_per_second


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


def vocabulary_size(model: ModelConfig) -> int:
    """Return how many tokens a recipe's tokenizer has; that of a base is taken to be of the usual size."""
    size = re.fullmatch(r"bpe@([0-9]+)(k?)", model.tokenizer)
    return int(size[1]) * (1000 if size[2] else 1) if size else VOCABULARY
