"""Read label probabilities of many prompts in PyTorch: only logits of the labels' tokens, where they part.

The parity gate reads the trained model by the same class, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tinsmith.jobs.labels import LabelTree
from tinsmith.model.output_layer import output_layer
from tinsmith.serve.prompt_reader import PromptReader


class LabelReader:
    """A model, a GGUF file or a directory, that tells the probabilities of labels.

    Without a `dtype` it is bfloat16 where the processor has it. Raises AssetError for a model that cannot be read.
    """

    def __init__(self, path: Path, tree: LabelTree, dtype: torch.dtype | None = None) -> None:
        self.tree, self.reader = tree, PromptReader(path, dtype)

    def scores(self, prompts: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        """Return ln p of each label after each prompt of token ids, before calibration."""
        known: list[dict[int, list[float]]] = [{} for _ in prompts]
        for branch in range(len(self.tree.branches)):
            wanted = [number for number, found in enumerate(known) if self.tree.is_reached(branch, found)]
            prefix = self.tree.branches[branch].prefix
            logits = self._logits([[*prompts[number], *prefix] for number in wanted], branch)
            for number, values in zip(wanted, logits, strict=True):
                known[number][branch] = values
        return [self.tree.from_known(found) for found in known]

    def _logits(self, prompts: Sequence[Sequence[int]], branch: int) -> list[list[float]]:
        """Return the logits of a branch's tokens after each prompt.

        These few products are in float32, since bfloat16 rounds logits to sixteenths.
        """
        tokens = list(self.tree.branches[branch].tokens)
        with torch.inference_mode():
            output = output_layer(self.reader.model).rows(tokens).float()
            logits: list[list[float]] = output.logits(self.reader.last_states(prompts)).tolist()
        return logits
