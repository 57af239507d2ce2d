"""Read many prompts at once in PyTorch, and write a line after each: what several begin with is read once.

Reading is matrix products alone. PyTorch does these faster than the llama.cpp of the package index, which is built for
AVX2, and more so where the processor multiplies bfloat16 (benchmarks/job_speed.py). The weights are those of the
file; llama.cpp also rounds what it multiplies them by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tinsmith.model.load import has_bfloat16, load_model
from tinsmith.model.output_layer import output_layer
from tinsmith.tokens.shared_prefixes import alike_groups

_TOKENS_AT_ONCE = 2048
_TOKENS_BEFORE_LINES = 8192  # of prompts after which is written together: a step takes hardly longer for many

Ids = Sequence[int]
Written = tuple[int, float]  # a token, and ln p of it


class PromptReader:
    """A model in PyTorch, a GGUF file or a directory, that reads prompts of token ids.

    Without a `dtype` it is bfloat16 where the processor has it. Raises AssetError for a model that cannot be read.
    """

    def __init__(self, path: Path, dtype: torch.dtype | None = None) -> None:
        fast = torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32
        self.model = load_model(path, dtype=dtype or fast).eval()
        # A cache with a sliding window would drop tokens of a prompt in favour of padding.
        self.can_go_on = getattr(self.model.config, "sliding_window", None) is None

    @torch.inference_mode()
    def last_states(self, prompts: Sequence[Ids]) -> Tensor:
        """Return the last hidden state (N, H) of each prompt, in float32."""
        found = torch.zeros(len(prompts), output_layer(self.model).weight.shape[1])
        alone, shared = list(range(len(prompts))), list[tuple[list[int], int]]()
        if self.can_go_on:
            groups = alike_groups([np.array(prompt) for prompt in prompts])
            alone = [number for members, length in groups if not length for number in members]
            shared = [group for group in groups if group[1]]
        for batch in _batches({number: len(prompts[number]) for number in alone}):
            hidden, _ = self._read([prompts[number] for number in batch])
            found[batch] = hidden
        largest = {
            place: max(length, sum(len(prompts[number]) - length for number in members))
            for place, (members, length) in enumerate(shared)
        }
        for batch in _batches(largest):
            numbers, hidden = self._read_shared(prompts, [shared[place] for place in batch])
            found[numbers] = hidden
        return found

    @torch.inference_mode()
    def probabilities(self, prompts: Sequence[Ids], token: int) -> list[float]:
        """Return the probability of a token after each prompt."""
        output = output_layer(self.model).float()
        found: list[float] = []
        for states in self.last_states(prompts).split(_TOKENS_AT_ONCE // 8):
            found += output.logits(states).softmax(dim=1)[:, token].tolist()
        return found

    @torch.inference_mode()
    def lines(
        self, prompts: Sequence[Ids], most: Sequence[int], ends: Callable[[int, Sequence[Written]], bool]
    ) -> list[list[Written]]:
        """Write the likeliest tokens after each prompt: as many as `most` allows, or until it `ends`.

        `ends` is given the number of the prompt and what was written so far.

        Only for models that `can_go_on`: those whose cache of padded prompts is exact.
        """
        output = output_layer(self.model)
        found: list[list[Written]] = [[] for _ in prompts]
        lengths = {number: len(prompt) for number, prompt in enumerate(prompts)}
        for batch in _batches(lengths, _TOKENS_BEFORE_LINES):
            states, (cache, mask) = self._read([prompts[number] for number in batch], keep=True)
            places = mask.sum(dim=1)
            while True:
                logits = output.logits(states)
                chosen = logits.log_softmax(dim=1).max(dim=1)
                written = zip(batch, chosen.indices.tolist(), chosen.values.tolist(), strict=True)
                going = []
                for place, (number, token, log_p) in enumerate(written):
                    found[number].append((token, log_p))
                    if not ends(number, found[number]) and len(found[number]) < most[number]:
                        going.append(place)
                if not going:
                    break
                batch = [batch[place] for place in going]
                tokens = chosen.indices[going]
                cache.batch_select_indices(torch.tensor(going))  # type: ignore[attr-defined]
                mask = torch.cat([mask[going], torch.ones(len(going), 1, dtype=mask.dtype)], dim=1)
                places = places[going]
                states = self.model.base_model(
                    input_ids=tokens[:, None],
                    attention_mask=mask,
                    position_ids=places[:, None],
                    past_key_values=cache,
                ).last_hidden_state[:, -1]
                places = places + 1
        return found

    def _read(self, prompts: Sequence[Ids], *, keep: bool = False) -> tuple[Tensor, tuple[object, Tensor]]:
        """Return the last states (N, H), and with `keep` the cache and mask (N, T) of what was read."""
        ids, mask = _padded(prompts)
        output = self.model.base_model(input_ids=ids, attention_mask=mask if keep else None, use_cache=keep)
        last = output.last_hidden_state[range(len(prompts)), mask.sum(dim=1) - 1]
        return last.float(), (output.past_key_values if keep else None, mask)

    def _read_shared(
        self, prompts: Sequence[Ids], groups: Sequence[tuple[list[int], int]]
    ) -> tuple[list[int], Tensor]:
        """Read the beginning of each group once, then what follows it; return the numbers and last states (N, H)."""
        _, (cache, mask) = self._read([prompts[members[0]][:length] for members, length in groups], keep=True)
        owners = [place for place, (members, _) in enumerate(groups) for _ in members]
        numbers = [number for members, _ in groups for number in members]
        before = torch.tensor([groups[place][1] for place in owners])
        rest, own = _padded([prompts[number][groups[place][1] :] for number, place in zip(numbers, owners)])
        cache.batch_select_indices(torch.tensor(owners))  # type: ignore[attr-defined]
        hidden = self.model.base_model(
            input_ids=rest,
            attention_mask=torch.cat([mask[owners], own], dim=1),
            position_ids=before[:, None] + torch.arange(rest.shape[1]),
            past_key_values=cache,
        ).last_hidden_state
        return numbers, hidden[range(len(numbers)), own.sum(dim=1) - 1].float()


def _padded(prompts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Return ids and mask (N, T), padded on the right, which changes nothing on its left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts])
    mask = torch.tensor([[1] * len(prompt) + [0] * (longest - len(prompt)) for prompt in prompts])
    return ids, mask


def _batches(lengths: dict[int, int], most: int = _TOKENS_AT_ONCE) -> Iterator[list[int]]:
    """Yield numbers in order of length, in batches of bounded size, padding included."""
    batch: list[int] = []
    for number in sorted(lengths, key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[number] > most:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
