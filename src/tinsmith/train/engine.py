"""The training engine: exact gradients of any mixture of objectives, and the step that follows."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from tinsmith.base.progress import Progress
from tinsmith.recipe import TrainConfig
from tinsmith.tokens.batches import Batch
from tinsmith.train.attention import NAME, isolate_sequences
from tinsmith.train.distributed import ALONE, Ranks, shard
from tinsmith.train.loss_spikes import not_finite
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives import Objective
from tinsmith.train.optim import Optimizers, clip_gradients


class Engine:
    """One model in training: `gradients` and then `update` make one optimiser step."""

    def __init__(
        self,
        model: PreTrainedModel,
        config: TrainConfig,
        mixture: Mixture,
        *,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        """Prepare a float32 model for training on the device of `ranks`, whole until `shard` divides it."""
        isolate_sequences(model)
        if config.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                # Nothing is padded here. Where the padding token is also the stop, its input would never learn.
                module.padding_idx = None
        self.model, self.config, self.mixture, self.seed = model.train(), config, mixture, seed
        self.ranks, self._root = ranks, _Root(model.to(ranks.device))
        self.optimizers = Optimizers(model, config)
        self.precision = "float32"

    def prepare(self, cache: Path, progress: Progress) -> None:
        """Have each objective compute once what it needs of the untrained model or of a teacher.

        In the precision of the steps: a reference of another precision would be another function.
        """
        with self.ranks.main_first(), self._in_precision():
            for component in self.mixture.components:
                component.objective.prepare(self.model, component.batches, cache / component.name, progress)

    def shard(self) -> None:
        """Divide weights, gradients and what optimisers remember among the processes, before the first step."""
        if self.ranks.size > 1:
            shard(self._root, self.model, self.ranks)
            self.optimizers = Optimizers(self.model, self.config)

    def compute_in(self, precision: str, *, compiled: bool) -> None:
        """Compute in a precision, float32 or bfloat16, and compiled or not, from now on."""
        self.precision = precision
        if compiled:
            self.model.base_model.compile(dynamic=True)

    def gradients(self, number: int) -> dict[str, float]:
        """Compute step `number`'s gradients. Returns loss (mean over the step), supervised and grad_norm.

        Each component's gradient is that of the sum of its losses over the sum of its weights, times its share,
        whatever the micro-batches are. With several components, `loss` is the mixture's, and `loss_NAME` and
        `tokens_NAME` are each one's. Further figures of an objective are means over its weight; `loader_seconds`
        went into making the batches.
        Raises Diverged where loss or gradient is not finite; the weights are then untouched.
        """
        # Dropout, where a model has any, is drawn from the step's number: a resumed run draws the same.
        torch.manual_seed(self._dropout_seed(number))
        facts, supervised, loader = {"loss": 0.0}, 0, 0.0
        for component in self.mixture.components:
            start = time.perf_counter()
            batches = self._batches(component, number)
            loader += time.perf_counter() - start
            total = sum(map(component.objective.num_targets, batches))
            if not total:
                continue
            supervised += total
            sums = self._sums(component, batches, component.share / total)
            loss = sums.pop("loss")
            facts["loss"] += loss
            facts |= {name: value / total for name, value in sorted(sums.items())}
            if len(self.mixture.components) > 1:
                facts[f"loss_{component.name}"] = loss / component.share
                facts[f"tokens_{component.name}"] = component.batches.step_tokens(number)
        norm = clip_gradients(self.optimizers.parameters, self.config.clip_norm)
        if trouble := not_finite(facts["loss"], norm, number, rate=self.config.learning_rate):
            self.optimizers.drop_gradients()
            raise trouble
        return facts | {"supervised": supervised, "grad_norm": norm, "loader_seconds": loader}

    @torch.no_grad()
    def loss(self, number: int) -> float:
        """Return step `number`'s loss under the weights as they are; gradients stay what they were."""
        torch.manual_seed(self._dropout_seed(number))
        loss = 0.0
        for component in self.mixture.components:
            batches = self._batches(component, number)
            if total := sum(map(component.objective.num_targets, batches)):
                read = [
                    (self._read(component, batch)[0], counts)
                    for batch, counts in self.ranks.split_microbatches(batches)
                ]
                own = math.fsum(float(value) for value, counts in read if counts)
                loss += self.ranks.sum([own])[0] * component.share / total
        if isinstance(self._root, FSDPModule):
            # No way back follows, after which the root's weights would be shards again.
            self._root.reshard()
        return loss

    def update(self, learning_rate: float) -> None:
        """Move the weights by the gradients."""
        self.optimizers.step(learning_rate)

    def time_microbatch(self, component: MixtureComponent, batch: Batch, precision: str) -> float:
        """Measure the seconds of a micro-batch forward and backward, and leave everything as it was."""
        kept, self.precision = self.precision, precision
        start = time.perf_counter()
        self._accumulate(component, batch, 1 / max(1, component.objective.num_targets(batch)))
        if self.ranks.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        self.optimizers.drop_gradients()
        self.precision = kept
        return seconds

    def _batches(self, component: MixtureComponent, number: int) -> list[Batch]:
        """Return the micro-batches of a step that the loss counts."""
        batches = component.batches.step(number)
        if self.ranks.size > 1 and self.model.config._attn_implementation != NAME:
            # A pass for each sequence: only in batches of one group do all processes gather weights equally often.
            size = component.batches.tokens.group
            firsts = [first for batch in batches for first in batch.numbers[::size]]
            batches = [component.batches.batch([first // size]) for first in firsts]
        return [batch for batch in batches if component.objective.num_targets(batch)]

    def _sums(self, component: MixtureComponent, batches: list[Batch], scale: float) -> dict[str, float]:
        """Add up gradients, loss and further figures over all micro-batches and processes."""
        rows = []
        for batch, counts in self.ranks.split_microbatches(batches):
            row = self._accumulate(component, batch, scale if counts else 0.0)
            rows.append(row if counts else dict.fromkeys(row, 0.0))
        names = sorted(set().union(*rows))
        sums = self.ranks.sum([math.fsum(row.get(name, 0.0) for row in rows) for name in names])
        return dict(zip(names, sums, strict=True))

    def _accumulate(self, component: MixtureComponent, batch: Batch, scale: float) -> dict[str, float]:
        """Add a micro-batch's gradients, scaled; return its scaled loss and the sums of further figures."""
        loss, sums = self._read(component, batch)
        scaled = loss * scale
        torch.autograd.backward(scaled)
        return {**sums, "loss": float(scaled.detach())}

    def _read(self, component: MixtureComponent, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the summed loss of a micro-batch and the sums of further figures."""
        with self._in_precision():
            found: tuple[Tensor, dict[str, float]] = self._root(
                component.objective, batch.to(self.ranks.device)
            )
        return found

    def _in_precision(self) -> torch.autocast:
        lowered = self.precision == "bfloat16"
        return torch.autocast(self.ranks.device.type, dtype=torch.bfloat16, enabled=lowered)

    def _dropout_seed(self, number: int) -> int:
        return self.seed * 1_000_003 + number + self.ranks.rank * 10**12


class _Root(nn.Module):
    """A model under its objective: one module whose forward pass begins and ends with the loss.

    Sharded weights are whole only inside the forward pass of the module that they belong to, and an objective uses
    components of the model one by one.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        return objective.loss(self.model, batch)
