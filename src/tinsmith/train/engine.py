"""The training engine: exact gradients of a mixture of objectives, and the update that follows."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from tinsmith.base.progress import Progress
from tinsmith.model.lora import packable_weights
from tinsmith.model.packed import pack, unpack
from tinsmith.recipe import TrainConfig
from tinsmith.tokens.batches import Batch
from tinsmith.train.attention import NAME, isolate_sequences
from tinsmith.train.distributed import ALONE, Ranks, shard
from tinsmith.train.loss_spikes import not_finite
from tinsmith.train.mixed_precision import convert_once, restore
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives import Objective
from tinsmith.train.optim import Optimizers, clip_gradients

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Engine:
    """One model in training: `gradients(step)` and then `update(rate)` make one optimiser step.

    The way to a loss: `gradients` passes each micro-batch of a step to `_backward`, which calls the `_Root` module,
    which calls the objective's `loss` (objectives/next_token.py), which sums the cross-entropy over chunks of logits
    (chunked.py). Losses are sums and come with a count of targets; only `gradients` normalises, over the whole step.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        config: TrainConfig,
        mixture: Mixture,
        *,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        """Prepare a float32 model for training on the device of `ranks`; `shard` divides it later."""
        isolate_sequences(model)
        if config.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                # Nothing is padded here. A stop token that is also the padding token would never learn as input.
                module.padding_idx = None
        self.model, self.config, self.mixture, self.seed = model.train(), config, mixture, seed
        self.ranks, self._root = ranks, _Root(model.to(ranks.device))
        self._alone_on_processor = ranks.device.type == "cpu" and ranks.size == 1
        if self._alone_on_processor:
            convert_once(model)
        self.optimizers = Optimizers(model, config)
        self.precision, self._packed = "float32", list[Tensor]()

    def prepare(self, cache: Path, progress: Progress) -> None:
        """Let each objective compute once what it needs of the untrained model or of a teacher.

        In the precision of the steps: a reference in another precision would be another function.
        """
        with self.ranks.main_first(), self.autocast():
            for component in self.mixture.components:
                component.objective.prepare(self.model, component.batches, cache / component.name, progress)

    def shard(self) -> None:
        """Divide weights, gradients and optimiser states among the processes, before the first step."""
        if self.ranks.size > 1:
            shard(self._root, self.model, self.ranks)
            self.optimizers = Optimizers(self.model, self.config)

    @property
    def packable(self) -> list[Tensor]:
        """Return the frozen weights that can be kept in the layout that products are fastest with."""
        return packable_weights(self.model) if self._alone_on_processor else []

    def compute_in(self, precision: str, *, compiled: bool, packed: bool = False) -> None:
        """Set the precision, float32 or bfloat16, and compile the model or not, or pack its frozen weights."""
        self.precision, self._packed = precision, self.packable if packed and not compiled else []
        unpack(self.packable, kept=_DTYPES[precision] if self._packed else None)
        pack(self._packed, _DTYPES[precision])
        restore(self.model)
        if compiled:
            self.model.base_model.compile(dynamic=True)
        else:
            self.model.base_model._compiled_call_impl = None
            if self._alone_on_processor:
                convert_once(self.model)

    def gradients(self, step: int) -> dict[str, float]:
        """Compute a step's gradients. Returns loss (mean over the step), supervised and grad_norm.

        A component's gradient is that of its summed loss, divided by its number of targets, times its share; it does
        not depend on the micro-batches. With several components, `loss` is the mixture's, and `loss_NAME` and
        `tokens_NAME` are those of each. Further figures of an objective are means over its targets;
        `loader_seconds` is the time that making the batches took.
        Raises Diverged where loss or gradient is not finite; the weights are then unchanged.
        """
        # Any dropout is drawn from the step's number, so that a resumed run draws the same.
        torch.manual_seed(self._dropout_seed(step))
        facts, supervised, loader = {"loss": 0.0}, 0, 0.0
        for component in self.mixture.components:
            start = time.perf_counter()
            batches = self._batches(component, step)
            loader += time.perf_counter() - start
            targets = sum(map(component.objective.num_targets, batches))
            if not targets:
                continue
            supervised += targets
            rows = []
            for batch, counts in self.ranks.split_microbatches(batches):
                row = self._backward(component, batch, component.share / targets if counts else 0.0)
                rows.append(row if counts else dict.fromkeys(row, 0.0))
            names = sorted(set().union(*rows))
            totals = self.ranks.sum([math.fsum(row.get(name, 0.0) for row in rows) for name in names])
            sums = dict(zip(names, totals, strict=True))
            loss = sums.pop("loss")
            facts["loss"] += loss
            facts |= {name: value / targets for name, value in sums.items()}
            if len(self.mixture.components) > 1:
                facts[f"loss_{component.name}"] = loss / component.share
                facts[f"tokens_{component.name}"] = component.batches.step_tokens(step)
        norm = clip_gradients(self.optimizers.parameters, self.config.clip_norm)
        if diverged := not_finite(facts["loss"], norm, step, rate=self.config.learning_rate):
            self.optimizers.drop_gradients()
            raise diverged
        return facts | {"supervised": supervised, "grad_norm": norm, "loader_seconds": loader}

    @torch.no_grad()
    def loss(self, step: int) -> float:
        """Return a step's loss under the current weights, without touching the gradients."""
        torch.manual_seed(self._dropout_seed(step))
        loss = 0.0
        for component in self.mixture.components:
            batches = self._batches(component, step)
            if targets := sum(map(component.objective.num_targets, batches)):
                values = []
                for batch, counts in self.ranks.split_microbatches(batches):
                    with self.autocast():
                        value, _ = self._root(component.objective, batch.to(self.ranks.device))
                    if counts:
                        values.append(float(value))
                loss += self.ranks.sum([math.fsum(values)])[0] * component.share / targets
        if isinstance(self._root, FSDPModule):
            # No backward pass follows, after which the root's weights would be sharded again.
            self._root.reshard()
        return loss

    def update(self, learning_rate: float) -> None:
        """Move the weights by the gradients."""
        self.optimizers.step(learning_rate)

    def time_microbatch(self, component: MixtureComponent, batch: Batch, precision: str) -> float:
        """Measure the seconds of a micro-batch's forward and backward pass, and leave no trace of it."""
        kept, self.precision = self.precision, precision
        start = time.perf_counter()
        self._backward(component, batch, 1 / max(1, component.objective.num_targets(batch)))
        if self.ranks.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        self.optimizers.drop_gradients()
        self.precision = kept
        return seconds

    def _batches(self, component: MixtureComponent, step: int) -> list[Batch]:
        """Return a step's micro-batches that have targets."""
        batches = component.batches.step(step)
        if self.ranks.size > 1 and self.model.config._attn_implementation != NAME:
            # Each sequence takes a pass. All processes gather weights equally often only with one group a batch.
            size = component.batches.tokens.group
            firsts = [first for batch in batches for first in batch.numbers[::size]]
            batches = [component.batches.batch([first // size]) for first in firsts]
        return [batch for batch in batches if component.objective.num_targets(batch)]

    def _backward(self, component: MixtureComponent, batch: Batch, scale: float) -> dict[str, float]:
        """Add a micro-batch's gradients, scaled; return its scaled loss and the sums of further figures."""
        with self.autocast():
            loss, figures = self._root(component.objective, batch.to(self.ranks.device))
        scaled = loss * scale
        torch.autograd.backward(scaled)
        return {**figures, "loss": float(scaled.detach())}

    def autocast(self) -> torch.autocast:
        """Return the context of the precision that steps are computed in."""
        lowered = self.precision == "bfloat16"
        return torch.autocast(self.ranks.device.type, dtype=torch.bfloat16, enabled=lowered)

    def _dropout_seed(self, step: int) -> int:
        return self.seed * 1_000_003 + step + self.ranks.rank * 10**12


class _Root(nn.Module):
    """A model and its objective as one module, whose forward pass returns the loss.

    FSDP gathers sharded weights only inside the forward pass of the module that they belong to, and an objective uses
    parts of the model one by one.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        return objective.loss(self.model, batch)
