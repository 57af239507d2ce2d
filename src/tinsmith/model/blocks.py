"""The blocks of a model of any family: find them, skip them, and record the states between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel


def blocks_of(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Return the name and the list of a model's blocks, such as model.layers or transformer.h."""
    return next(
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers
    )


@torch.no_grad()
def sample_loss(model: PreTrainedModel, sample: Sequence[Tensor]) -> float:
    """Return the mean cross-entropy, nats a token, of sequences of ids (T,) read one by one."""
    model.eval()
    total = sum(_summed_loss(model, ids) for ids in sample)
    return total / sum(len(ids) - 1 for ids in sample)


def _summed_loss(model: PreTrainedModel, ids: Tensor) -> float:
    ids = ids.to(model.device)
    logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1].float()
    return float(cross_entropy(logits, ids[1:], reduction="sum"))


class Skipper:
    """Run a sample through a model with some blocks skipped: a skipped block returns its input."""

    def __init__(self, model: PreTrainedModel, sample: Sequence[Tensor]) -> None:
        self.model, self.sample = model.eval(), sample
        self.blocks = blocks_of(model)[1]
        self.skipped: set[int] = set()
        self._states: list[list[Tensor]] = []
        self._in_tuples = False

    @torch.no_grad()
    def read(self) -> float:
        """Return the loss without the `skipped` blocks, and record the states between blocks."""
        self._states = []
        total = 0.0
        for ids in self.sample:
            states: list[Tensor] = []
            with self._recording(states), self._skipping(self.skipped):
                total += _summed_loss(self.model, ids)
            self._states.append(states)
        return total / self._tokens()

    @torch.no_grad()
    def loss_without(self, blocks: range) -> float:
        """Return the loss without some more blocks, reusing the recorded states before them."""
        total = 0.0
        before, later = range(blocks.stop), self.skipped.difference(range(blocks.stop))
        for ids, states in zip(self.sample, self._states, strict=True):
            with self._skipping(before, states[blocks.start]), self._skipping(later):
                total += _summed_loss(self.model, ids)
        return total / self._tokens()

    def influence(self, blocks: range) -> float:
        """Return 1 - the mean cosine of the states before and after some blocks (ShortGPT, Men et al. 2024)."""
        before, after = (
            torch.cat([states[block][0] for states in self._states]) for block in (blocks.start, blocks.stop)
        )
        return 1 - float(nn.functional.cosine_similarity(before.double(), after.double()).mean())

    def _tokens(self) -> int:
        return sum(len(ids) - 1 for ids in self.sample)

    @contextmanager
    def _recording(self, states: list[Tensor]) -> Iterator[None]:
        """Collect the state (1, T, H) before each block, and the one after the last."""

        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            states.append(args[0] if args else kwargs["hidden_states"])

        def leave(_: nn.Module, args: Any, output: Any) -> None:
            self._in_tuples = isinstance(output, tuple)
            states.append(output[0] if self._in_tuples else output)

        with ExitStack() as stack:
            for block in self.blocks:
                stack.callback(block.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(self.blocks[-1].register_forward_hook(leave).remove)
            yield

    def _skipping(self, numbers: Iterable[int], state: Tensor | None = None) -> AbstractContextManager[None]:
        return passing_through([self.blocks[number] for number in numbers], state, in_tuples=self._in_tuples)


@contextmanager
def passing_through(
    blocks: Iterable[nn.Module], state: Tensor | None = None, *, in_tuples: bool
) -> Iterator[None]:
    """Make blocks return their input, or `state` if given, as a tensor or, as some families do, in a tuple."""

    def forward(hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        passed = hidden_states if state is None else state
        return (passed, None) if in_tuples else passed

    skipped = list(blocks)
    for block in skipped:
        block.forward = forward
    try:
        yield
    finally:
        for block in skipped:
            del block.forward
