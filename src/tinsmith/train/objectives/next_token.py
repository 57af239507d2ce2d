"""Next-token prediction: cross-entropy of the supervised tokens."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from tinsmith.base.progress import Progress
from tinsmith.model.output_layer import output_layer
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.train.attention import target_hidden
from tinsmith.train.chunked_loss import chunked_cross_entropy
from tinsmith.train.objectives import Objective, Setup


class NextToken:
    """Cross-entropy of the supervised tokens, in nats."""

    shares_prefixes = False

    @property
    def has_frozen(self) -> bool:
        """Say whether lower blocks are frozen: not here."""
        return False

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Do nothing: cross-entropy needs only the batches."""

    def num_targets(self, batch: Batch) -> int:
        """Count the supervised tokens."""
        return len(batch.labels)

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the summed cross-entropy. Logits exist for supervised tokens only, a chunk at a time."""
        return chunked_cross_entropy(target_hidden(model, batch), output_layer(model), batch.labels), {}


def create(setup: Setup) -> Objective:
    """Create the objective; it has no settings."""
    return NextToken()
