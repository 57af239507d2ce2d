"""Preferences: make the chosen answer likelier than the rejected one, relative to the starting model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import Progress
from tinsmith.model.output_layer import output_layer
from tinsmith.recipe import DpoConfig
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.train.attention import isolate_sequences, target_hidden
from tinsmith.train.chunked_loss import chunked_log_probs
from tinsmith.train.objectives import Objective, Setup
from tinsmith.train.resumable_arrays import ResumableArrays, Rows, digest, fingerprint, sequence_runs


class Dpo:
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) over pairs (chosen, rejected).

    A pair's loss is -ln sigmoid(beta (c - r)); c and r are the gains of the two answers: how many nats likelier their
    supervised tokens are than under the starting model.
    """

    shares_prefixes = False

    def __init__(self, config: DpoConfig) -> None:
        self.config = config

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Compute once, without dropout, the log-probability of each answer under the starting model.

        Raises TrainingError for a token set without pairs, an answer without a supervised token, or a cache made by
        another model or from other tokens.
        """
        tokens = batches.tokens
        if tokens.group != 2:
            raise TrainingError(
                "this token set does not hold pairs of answers",
                where="train.objective",
                next_step="name preferences in tokenize.preferences, and run the stage tokenize again",
            )
        for number in range(len(tokens)):
            if not tokens.sequence(number)[1][1:].any():
                raise TrainingError(
                    f"the {('chosen', 'rejected')[number % 2]} answer of pair {number // 2} has no token to learn from",
                    where="tokenize.preferences",
                    next_step="remove empty answers, or raise tokenize.context so that answers are not cut off",
                )
        isolate_sequences(model)
        blocks = sequence_runs(tokens)

        def compute(block: int) -> Rows:
            with torch.no_grad():
                batch = batches.batch(blocks[block]).to(model.device)
                log_probs = sequence_log_probs(model, batch)
            return {"log_probs": log_probs.cpu().numpy()}

        facts = {"tokens": digest(tokens), "model": fingerprint(model.named_parameters())}
        arrays = ResumableArrays(cache, {"log_probs": ("<f8", 1)}, facts)
        trained = model.training
        model.eval()
        try:
            rows = arrays.fill([2 * len(block) for block in blocks], compute, "reference", progress)
        finally:
            model.train(trained)
        self._reference = np.array(rows["log_probs"][:, 0])

    def num_targets(self, batch: Batch) -> int:
        """Count the pairs."""
        return len(batch.lengths) // 2

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the summed loss; the figures sum the margins beta (c - r) and count the positive ones."""
        reference = torch.from_numpy(self._reference[list(batch.numbers)]).to(batch.ids.device)
        gains = sequence_log_probs(model, batch) - reference
        margins = self.config.beta * (gains[0::2] - gains[1::2])
        figures = {"margin": float(margins.detach().sum()), "accuracy": float((margins > 0).sum())}
        return -logsigmoid(margins).sum(), figures


def create(setup: Setup) -> Objective:
    """Create the objective with `train.dpo`."""
    return Dpo(setup.config.dpo)


def sequence_log_probs(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Return ln p (N,) of the supervised tokens of each of a batch's N sequences, in float64."""
    tokens = chunked_log_probs(target_hidden(model, batch), output_layer(model), batch.labels).double()
    ends = torch.tensor(batch.lengths, device=batch.ids.device).cumsum(0)
    owners = torch.searchsorted(ends, batch.target_positions, right=True)
    return tokens.new_zeros(len(batch.lengths)).index_add(0, owners, tokens)
