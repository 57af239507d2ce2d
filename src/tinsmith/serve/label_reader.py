"""Read label probabilities of many prompts in PyTorch: only logits of the labels' tokens, where they part.

A classification only reads a prompt and writes nothing, so it is matrix products alone. PyTorch does these faster than
the llama.cpp of the package index, which is built for AVX2, and more so where the processor multiplies
bfloat16 (benchmarks/job_speed.py). The weights are those of the file; llama.cpp also rounds what it multiplies them by.
The parity gate reads the trained model by the same class, in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from tinsmith.jobs.labels import LabelTree
from tinsmith.model.load import has_bfloat16, load_model
from tinsmith.model.output_layer import output_layer

_TOKENS_AT_ONCE = 2048


class LabelReader:
    """A model in PyTorch, a GGUF file or a directory, that tells the probabilities of labels.

    Without a `dtype` it is bfloat16 where the processor has it. Raises AssetError for a model that cannot be read.
    """

    def __init__(self, path: Path, tree: LabelTree, dtype: torch.dtype | None = None) -> None:
        self.tree = tree
        fast = torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32
        self.model = load_model(path, dtype=dtype or fast).eval()

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

    @torch.inference_mode()
    def _logits(self, prompts: Sequence[Sequence[int]], branch: int) -> list[list[float]]:
        """Return the logits of a branch's tokens after each prompt.

        These few products are in float32, since bfloat16 rounds logits to sixteenths.
        """
        tokens = list(self.tree.branches[branch].tokens)
        weight, bias = output_layer(self.model)
        chosen = weight[tokens].float(), None if bias is None else bias[tokens].float()
        found: list[list[float]] = [[]] * len(prompts)
        for batch in _batches([len(prompt) for prompt in prompts]):
            longest = len(prompts[batch[-1]])
            # Padding on the right changes nothing on its left.
            ids = torch.tensor([[*prompts[i], *[0] * (longest - len(prompts[i]))] for i in batch])
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            last = hidden[range(len(batch)), [len(prompts[i]) - 1 for i in batch]]
            logits = torch.nn.functional.linear(last.float(), *chosen).tolist()
            for number, values in zip(batch, logits, strict=True):
                found[number] = values
        return found


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers of sequences in order of length, in batches of bounded size, padding included."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[number] > _TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
