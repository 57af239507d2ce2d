"""Train the upper blocks of a model: the lower ones are frozen, and their states are computed once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinsmith.base.progress import Progress
from tinsmith.model.blocks import blocks_of, passing_through
from tinsmith.tokens.batches import Batch, Part, make_batch
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.shared_prefixes import LEAST_SHARED, shared_beginning
from tinsmith.train.attention import isolated_inputs, shared_if_isolated
from tinsmith.train.resumable_arrays import ResumableArrays, Rows, digest, fingerprint

MOST_BYTES = 4 * 2**30  # of states on disk; a larger set is read through the frozen blocks in every pass
_TOKENS_AT_ONCE = 2048


def freeze_lower(model: PreTrainedModel, share: float) -> int:
    """Freeze embeddings, output layer and the lower `share` of the blocks; return the number of frozen blocks.

    At least one block stays trainable, and so does what follows the blocks, such as the last norm.
    """
    name, blocks = blocks_of(model)
    count = min(len(blocks) - 1, round(share * len(blocks)))
    children = list(model.base_model.named_children())
    place = [child for child, _ in children].index(name.rpartition(".")[2])
    after = [module for _, module in children[place + 1 :] if not isinstance(module, nn.Embedding)]
    model.requires_grad_(False)
    for module in [*blocks[count:], *after]:
        module.requires_grad_(True)
    return count


class LowerStates:
    """What the lower `count` blocks make of each token of a set, without dropout, kept on disk in float32.

    A subset of the set shares them: its sequences are found by their place in the file of tokens.
    """

    def __init__(self, tokens: TokenSet, count: int, cache: Path) -> None:
        self._tokens, self._count, self._cache = tokens, count, cache
        self.kept = True  # otherwise states are computed in each pass, which costs less if there is hardly a second one
        self._states: NDArray[np.float32] | None = None
        self._in_tuples = False

    def fits(self, model: PreTrainedModel) -> bool:
        """Say whether states are worth keeping, and small enough."""
        width: int = model.get_input_embeddings().weight.shape[1]
        return self.kept and self._count > 0 and 4 * width * len(self._tokens.ids) <= MOST_BYTES

    @property
    def ready(self) -> bool:
        """Say whether the states are at hand."""
        return self._states is not None

    def fill(self, model: PreTrainedModel, progress: Progress) -> None:
        """Compute the states once, and reuse those on disk after a crash. The model attends within sequences.

        Raises TrainingError where those on disk are of another model or of other tokens.
        """
        if self._states is not None or not self.fits(model):
            return
        runs = _runs_in_file(self._tokens)
        width: int = model.get_input_embeddings().weight.shape[1]
        # The other weights may have been trained already, where a run resumes.
        frozen = [(name, weight) for name, weight in model.named_parameters() if not weight.requires_grad]
        facts = {"tokens": digest(self._tokens), "model": fingerprint(frozen), "blocks": self._count}
        arrays = ResumableArrays(self._cache, {"states": ("<f4", width)}, facts)
        trained = model.training
        model.eval()
        try:
            self._in_tuples = _returns_tuples(model)

            def compute(run: int) -> Rows:
                batch = make_batch([self._tokens.sequence(number) for number in runs[run]])
                return {"states": self._compute(model, batch.to(model.device)).cpu().numpy()}

            sizes = [int(self._tokens.lengths[run].sum()) for run in runs]
            rows = arrays.fill(sizes, compute, "frozen blocks", progress)
        finally:
            model.train(trained)
        self._states = rows["states"]

    def target_hidden(self, model: PreTrainedModel, batch: Batch, tokens: TokenSet) -> Tensor:
        """Return the last hidden states (S, H) at the target positions of a batch of `tokens`.

        `tokens` is the set that the states were computed of, or a subset of it.
        """
        lower = blocks_of(model)[1][: self._count]
        batch = shared_if_isolated(model, batch)
        pieces = batch.parts or [Part(place, 0, length) for place, length in enumerate(batch.lengths)]
        parts: list[Tensor | None] = [None] * len(pieces)
        if self._states is not None:
            kept = [
                self._of(tokens, batch.numbers[piece.number])[piece.start : piece.stop] for piece in pieces
            ]
            parts = [state.to(batch.ids.device)[None] for state in kept]
        passes = list(isolated_inputs(model, batch))
        if len(passes) == 1 and self._states is not None:
            parts = [torch.cat([part for part in parts if part is not None], dim=1)]
        hidden = []
        for inputs, part in zip(passes, parts, strict=False):
            skipped = lower if part is not None else []
            with passing_through(skipped, part, in_tuples=self._in_tuples):
                hidden.append(model.base_model(**inputs).last_hidden_state[0])
        return torch.cat(hidden)[batch.target_positions]

    def _of(self, tokens: TokenSet, number: int) -> Tensor:
        assert self._states is not None
        start = int(tokens.offsets[number])
        return torch.from_numpy(np.array(self._states[start : start + int(tokens.lengths[number])]))

    @torch.no_grad()
    def _compute(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Return the states (T, H) of a batch's sequences after the lower blocks."""
        whole, batch = batch, shared_if_isolated(model, batch)
        blocks, seen = blocks_of(model)[1], list[Tensor]()
        hook = blocks[self._count - 1].register_forward_hook(
            lambda _, __, output: seen.append(output[0] if self._in_tuples else output)
        )
        try:
            with passing_through(blocks[self._count :], in_tuples=self._in_tuples):
                for inputs in isolated_inputs(model, batch):
                    model.base_model(**inputs)
        finally:
            hook.remove()
        found = torch.cat(seen, dim=1)[0].float()
        if not batch.parts:
            return found
        pieces = found.split(batch.lengths)
        own = {
            part.number: at for at, part in enumerate(batch.parts) if part.stop == whole.lengths[part.number]
        }
        return torch.cat(
            [
                torch.cat([pieces[part.prefix], pieces[at]]) if part.prefix >= 0 else pieces[at]
                for at, part in (
                    (own[number], batch.parts[own[number]]) for number in range(len(whole.lengths))
                )
            ]
        )


def _runs_in_file(tokens: TokenSet) -> list[NDArray[np.int64]]:
    """Divide the sequences, in the order of the file, into runs of about `_TOKENS_AT_ONCE` tokens that are read.

    What a sequence shares with the one before it is read once.
    """
    order = np.argsort(tokens.offsets, kind="stable")
    read = tokens.lengths[order].astype(np.int64)
    for place, (before, number) in enumerate(pairwise(order.tolist()), start=1):
        shared = shared_beginning(tokens.sequence(before)[0], tokens.sequence(number)[0])
        read[place] -= min(shared, read[place] - 1) if shared >= LEAST_SHARED else 0
    ends = np.cumsum(read)
    runs = (ends - 1) // _TOKENS_AT_ONCE
    return [order[runs == run] for run in np.unique(runs)]


@torch.no_grad()
def _returns_tuples(model: PreTrainedModel) -> bool:
    """Say whether the blocks of a model return tuples, which differs between families."""
    found: list[bool] = []
    hook = blocks_of(model)[1][0].register_forward_hook(
        lambda _, __, output: found.append(isinstance(output, tuple))
    )
    ids = np.zeros(2, dtype=np.uint32)
    batch = make_batch([(ids, np.ones(2, dtype=np.uint8))]).to(model.device)
    try:
        for inputs in isolated_inputs(model, batch):
            model.base_model(**inputs)
    finally:
        hook.remove()
    return found[0]
