"""What a step minimises: a sum over what it weighs, which the engine divides over the whole step."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import Progress
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.attention import isolated_inputs
from tinsmith.train.chunked import chunked_cross_entropy


class Objective(Protocol):
    """An axis of training: what is counted and what is minimised."""

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Compute once, before the first step, what needs the untrained model or a teacher; go on after a kill.

        The directory `cache` is the objective's own; what is whole in it is used again.
        """

    def num_targets(self, batch: Batch) -> int:
        """Count what the loss sums over: supervised tokens, or pairs."""

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss as a sum over that weight, never a mean, and further figures as such sums."""


class NextToken:
    """Cross-entropy of the supervised tokens, in nats."""

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Do nothing: this objective needs no more than its batches."""

    def num_targets(self, batch: Batch) -> int:
        """Count the supervised tokens."""
        return len(batch.labels)

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the summed cross-entropy. Logits exist for supervised places only, and for a chunk at a time."""
        hidden = last_hidden(model, batch)[0, batch.target_positions]
        weight, bias = output_layer(model)
        return chunked_cross_entropy(hidden, weight, batch.labels, bias), {}


def last_hidden(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Return the last hidden states (1, T, H) of sequences that do not see each other."""
    parts = [model.base_model(**inputs).last_hidden_state for inputs in isolated_inputs(model, batch)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def output_layer(model: PreTrainedModel) -> tuple[Tensor, Tensor | None]:
    """Return the weights (V, H) that make logits of hidden states, and their bias (V,) where the family has one."""
    head = model.get_output_embeddings()
    return head.weight, getattr(head, "bias", None)


def check_context(model: PreTrainedModel, tokens: TokenSet, *, where: str) -> None:
    """Raise TrainingError where a sequence is longer than what the model was made to read."""
    most, longest = getattr(model.config, "max_position_embeddings", None), int(tokens.lengths.max())
    if most is not None and longest > most:
        raise TrainingError(
            f"the longest sequence has {longest} tokens, and {model.config.model_type} here reads {most}",
            where=where,
            next_step=f"lower tokenize.context to {most} or less",
        )


def check_output_layer(model: PreTrainedModel, batch: Batch) -> None:
    """Raise TrainingError where logits are not the plain product of hidden states and output weights, plus bias."""
    plain, trained = None, model.training
    model.eval()  # two readings are compared, and dropout would draw anew for each
    try:
        with torch.no_grad():
            own = torch.cat([model(**inputs).logits[0] for inputs in isolated_inputs(model, batch)])
            if model.get_output_embeddings() is not None:
                plain = torch.nn.functional.linear(last_hidden(model, batch)[0], *output_layer(model))
    finally:
        model.train(trained)
    if plain is None or not torch.allclose(own, plain, rtol=1e-3, atol=1e-3):
        raise TrainingError(
            f"{model.config.model_type} scales or shifts its logits, which the loss here does not know",
            where="model.base",
            next_step="take a base of another family such as llama, qwen3 or gemma3",
        )
