"""A dry run before the first step: shrink micro-batches until the largest one fits into memory.

A step's gradient does not depend on its micro-batches, so the global batch stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.base.progress import Progress
from tinsmith.tokens.batches import Batch, Batches, make_batch
from tinsmith.train.attention import shared_if_isolated
from tinsmith.train.engine import Engine
from tinsmith.train.memory import available_bytes, is_out_of_memory
from tinsmith.train.mixture import MixtureComponent
from tinsmith.train.objectives.next_token import NextToken

_STEPS_AHEAD = 500
_FEW, _MORE = 32, 128  # tokens of two forward passes, from which memory is extrapolated
_SMALLER = (
    "set train.activation_checkpointing, lower tokenize.context, use train.trainable = 'lora' "
    "or a smaller model"
)


def fit_into_memory(engine: Engine, settings: Path, progress: Progress) -> None:
    """Choose each component's micro-batches so that the largest fits, or reuse the choice saved in `settings`.

    Raises TrainingError where not even the longest sequence fits alone.
    """
    known = engine.ranks.broadcast(read_json(settings)["micro_tokens"] if engine.ranks.is_main else None)
    for component in engine.mixture.components:
        component.batches.micro_tokens = (
            known[component.name] if known else _find_fitting(engine, component, progress)
        )
    if known or not engine.ranks.is_main:
        return
    found = {component.name: component.batches.micro_tokens for component in engine.mixture.components}
    write_json(settings, {**read_json(settings), "micro_tokens": found})


@contextmanager
def explain_exhaustion(when: str) -> Iterator[None]:
    """Turn a failed allocation in the block into a TrainingError that says when it failed and what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise TrainingError(f"memory ran out {when} ({detail})", where="train", next_step=_SMALLER) from error


def _find_fitting(engine: Engine, component: MixtureComponent, progress: Progress) -> int:
    """Return the tokens of a micro-batch: the configured number, halved until it fits."""
    while True:
        batch = largest_batch(component.batches)
        if component.objective.shares_prefixes:
            batch = shared_if_isolated(engine.model, batch)
        problem = _try(engine, component, batch)
        if not problem:
            return component.batches.micro_tokens
        tokens = batch.ids.shape[1]
        if batch.numbers in component.batches.groups.members:
            raise TrainingError(
                f"the longest sequence, {tokens} tokens, does not fit into memory: {problem}",
                where="train",
                next_step=_SMALLER,
            )
        component.batches.micro_tokens = min(tokens, component.batches.micro_tokens) // 2
        progress.say(
            f"  {component.name}: {tokens} tokens at once do not fit into memory ({problem}); trying {tokens // 2} "
            "in more passes, which leaves the step's size unchanged"
        )


def largest_batch(batches: Batches) -> Batch:
    """Return the largest micro-batch to expect: the longest sequences together, or one of the coming epoch."""
    filled = _fill_up(batches, batches.micro_tokens)
    seen, step = 0, 0
    while seen < batches.epoch_tokens and step < _STEPS_AHEAD:
        filled = max(filled, *batches.step(step), key=lambda batch: batch.ids.shape[1])
        seen, step = seen + batches.step_tokens(step), step + 1
    return filled


def _fill_up(batches: Batches, most: int) -> Batch:
    """Return the longest sequence with the longest others that fit beside it into `most` tokens."""
    lengths = batches.groups.lengths
    ascending = np.argsort(lengths, kind="stable")
    chosen, end = [int(ascending[-1])], len(ascending) - 1
    room = min(most, batches.batch_tokens) - int(lengths[chosen[0]])
    while (at := int(np.searchsorted(lengths[ascending[:end]], room, side="right")) - 1) >= 0:
        chosen.append(int(ascending[at]))
        room, end = room - int(lengths[chosen[-1]]), at
    return batches.batch(chosen)


def _try(engine: Engine, component: MixtureComponent, batch: Batch) -> str:
    """Return why a micro-batch does not fit beside gradients and optimiser states, or nothing."""
    problem = memory_shortage(engine, batch)
    if not problem:
        held: list[Tensor] = []
        try:
            held = engine.optimizers.allocate_state()
            engine.time_microbatch(component, batch, engine.precision)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            problem = " ".join(str(error).split())[:200] or type(error).__name__
        del held
        engine.optimizers.drop_gradients()
        if engine.ranks.device.type == "cuda":
            torch.cuda.empty_cache()
    failed = engine.ranks.sum([float(bool(problem))])[0]
    return problem or ("another process has too little" if failed else "")


def memory_shortage(engine: Engine, batch: Batch) -> str:
    """Return why a micro-batch cannot fit into main memory, or nothing.

    Linux overcommits memory and kills the process that uses it, so it must be known before. The estimate is a lower
    bound: gradients, optimiser states, and activations kept for the backward pass, extrapolated from few tokens.
    """
    if engine.ranks.device.type != "cpu" or engine.ranks.size > 1:
        return ""
    few, more = (_trim(batch, tokens) for tokens in (_FEW, _MORE))
    sizes = [sample.ids.shape[1] for sample in (few, more)]
    kept = [saved_bytes(engine, sample) for sample in (few, more)]
    slope = (kept[1] - kept[0]) / (sizes[1] - sizes[0]) if sizes[1] > sizes[0] else kept[1] / sizes[1]
    needed = kept[1] + slope * (batch.ids.shape[1] - sizes[1]) + engine.optimizers.bytes_in_training()
    available = available_bytes()
    if needed <= available:
        return ""
    return f"it needs {needed / 2**30:.1f} GiB or more, and {available / 2**30:.1f} GiB are free"


def saved_bytes(engine: Engine, batch: Batch) -> int:
    """Count the bytes that a batch's forward pass keeps for the backward pass, without weights."""
    own = {parameter.untyped_storage().data_ptr() for parameter in engine.model.parameters()}
    seen: dict[int, int] = {}
    held: list[Tensor] = []  # so that no address is reused

    def pack(tensor: Tensor) -> Tensor:
        storage, kept = tensor.untyped_storage(), tensor.detach()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            held.append(kept)
        # Not the tensor itself: an output that its own step of the graph holds is never freed, nor is the model.
        return kept

    lowered = torch.autocast("cpu", dtype=torch.bfloat16, enabled=engine.precision == "bfloat16")
    watched = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    # A compiled model keeps less, and hooks would recompile it.
    with torch.compiler.set_stance("force_eager"), lowered, watched:
        NextToken().loss(engine.model, batch)
    return sum(seen.values())


def _trim(batch: Batch, tokens: int) -> Batch:
    ids = batch.ids[0, : min(tokens, batch.lengths[0])].cpu().numpy().astype(np.uint32)
    return make_batch([(ids, np.ones(len(ids), np.uint8))])
