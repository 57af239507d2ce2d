"""The training engine: exact gradients of any mixture of objectives, and the step that follows."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from transformers import PreTrainedModel

from tinsmith.foundation.errors import TrainingError
from tinsmith.foundation.progress import Progress
from tinsmith.recipe import TrainConfig
from tinsmith.tokens.batches import Batch
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.memory import keep_freed_memory
from tinsmith.train.mixture import Mixture, Part
from tinsmith.train.optim import Optimizers, clip_gradients


class Engine:
    """One model in training: `gradients` and then `update` make one optimiser step."""

    def __init__(self, model: PreTrainedModel, config: TrainConfig, mixture: Mixture, *, seed: int) -> None:
        """Prepare a float32 model for training. Raises TrainingError where documents could not be kept apart."""
        keep_freed_memory()
        isolate_sequences(model)
        if config.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.model, self.config, self.mixture, self.seed = model.train(), config, mixture, seed
        self.optimizers = Optimizers(model, config)
        self.precision = "float32"

    def prepare(self, cache: Path, progress: Progress) -> None:
        """Have each objective compute once what it needs of the untrained model or of a teacher."""
        for part in self.mixture.parts:
            part.objective.prepare(self.model, part.batches, cache / part.name, progress)

    def compute_in(self, precision: str, *, compiled: bool) -> None:
        """Compute in a precision, float32 or bfloat16, and compiled or not, from now on."""
        self.precision = precision
        if compiled:
            self.model.base_model.compile(dynamic=True)

    def gradients(self, number: int) -> dict[str, float]:
        """Compute step `number`'s gradients. Returns loss (mean over the step), supervised and grad_norm.

        Each part's gradient is that of the sum of its losses over the sum of its weights, times its share,
        whatever the micro-batches are. With several parts, `loss` is the mixture's and `loss_NAME` each one's;
        further figures of an objective are means over its weight. Raises TrainingError where loss or gradient
        is not finite; the weights are then untouched.
        """
        # Dropout, where a model has any, is drawn from the step's number: a resumed run draws the same.
        torch.manual_seed(self.seed * 1_000_003 + number)
        facts, supervised = {"loss": 0.0}, 0
        for part in self.mixture.parts:
            batches = part.batches.step(number)
            total = sum(map(part.objective.weight, batches))
            if not total:
                continue
            supervised += total
            rows = [self._accumulate(part, batch, part.share / total) for batch in batches]
            sums = {name: math.fsum(row.get(name, 0.0) for row in rows) for name in set().union(*rows)}
            loss = sums.pop("loss")
            facts["loss"] += loss
            facts |= {name: value / total for name, value in sorted(sums.items())}
            if len(self.mixture.parts) > 1:
                facts[f"loss_{part.name}"] = loss / part.share
        norm = clip_gradients(self.optimizers.parameters, self.config.clip_norm)
        if not (math.isfinite(facts["loss"]) and math.isfinite(norm)):
            self.optimizers.drop_gradients()
            raise TrainingError(
                f"the {'gradient' if math.isfinite(facts['loss']) else 'loss'} is not finite at step {number}",
                where="train",
                next_step=f"lower train.learning_rate (it is {self.config.learning_rate:g}), "
                "or set train.precision to float32",
            )
        return facts | {"supervised": supervised, "grad_norm": norm}

    def update(self, learning_rate: float) -> None:
        """Move the weights by the gradients."""
        self.optimizers.step(learning_rate)

    def rehearse(self, part: Part, batch: Batch, precision: str) -> float:
        """Measure the seconds of a micro-batch forward and backward, and leave everything as it was."""
        kept, self.precision = self.precision, precision
        start = time.perf_counter()
        self._accumulate(part, batch, 1 / max(1, part.objective.weight(batch)))
        seconds = time.perf_counter() - start
        self.optimizers.drop_gradients()
        self.precision = kept
        return seconds

    def _accumulate(self, part: Part, batch: Batch, scale: float) -> dict[str, float]:
        """Add a micro-batch's gradients, scaled; return its scaled loss and the sums of further figures."""
        if not part.objective.weight(batch):
            return {}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss, sums = part.objective.loss(self.model, batch)
        scaled = loss * scale
        torch.autograd.backward(scaled)
        return {**sums, "loss": float(scaled.detach())}
