"""Preferences: make the chosen answer likelier than the rejected one, as seen from where training began."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import Progress
from tinsmith.recipe import DpoConfig
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.chunked import chunked_log_probs
from tinsmith.train.objectives import last_hidden, output_layer
from tinsmith.train.resumable_arrays import RowFile, Rows, digest, sequence_runs


class Dpo:
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) over pairs (chosen, rejected).

    A pair's loss is -ln sigmoid(beta (c - r)), where c and r are by how many nats the supervised tokens of each
    answer have become likelier than under the model that training began with.
    """

    def __init__(self, config: DpoConfig) -> None:
        self.config = config

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Compute ln p of each answer under the untrained model, without dropout, once.

        Raises TrainingError where the token set holds no pairs, an answer has no supervised token, or the cache was
        made by another model or from other tokens.
        """
        tokens = batches.tokens
        if tokens.group != 2:
            raise TrainingError(
                "the sequences of this token set are no pairs",
                where="train.objective",
                next_step="name preferences in tokenize.preferences, and run the stage tokenize again",
            )
        for number in range(len(tokens)):
            if not tokens.sequence(number)[1][1:].any():
                raise TrainingError(
                    f"the {('chosen', 'rejected')[number % 2]} answer of pair {number // 2} has no token to learn",
                    where="tokenize.preferences",
                    next_step="remove empty answers, or raise tokenize.context so that answers are not cut off",
                )
        isolate_sequences(model)
        blocks = sequence_runs(tokens)

        def compute(block: int) -> Rows:
            with torch.no_grad():
                batch = batches.batch(blocks[block]).to(model.device)
                found = sequence_log_probs(model, batch)
            return {"log_probs": found.cpu().numpy()}

        facts = {"tokens": digest(tokens), "model": _fingerprint(model)}
        table = RowFile(cache, {"log_probs": ("<f8", 1)}, facts)
        trained = model.training
        model.eval()
        try:
            rows = table.fill([2 * len(block) for block in blocks], compute, "reference", progress)
        finally:
            model.train(trained)
        self._reference = np.array(rows["log_probs"][:, 0])

    def num_targets(self, batch: Batch) -> int:
        """Count the pairs."""
        return len(batch.lengths) // 2

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the summed loss; the figures are sums of beta (c - r) and of pairs in which it is above 0."""
        reference = torch.from_numpy(self._reference[list(batch.numbers)]).to(batch.ids.device)
        gained = sequence_log_probs(model, batch) - reference
        margins = self.config.beta * (gained[0::2] - gained[1::2])
        figures = {"margin": float(margins.detach().sum()), "accuracy": float((margins > 0).sum())}
        return -logsigmoid(margins).sum(), figures


def sequence_log_probs(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Return the ln p (N,) of the supervised tokens of each of a batch's N sequences, in float64."""
    hidden = last_hidden(model, batch)[0, batch.target_positions]
    tokens = chunked_log_probs(hidden, *output_layer(model), batch.labels).double()
    ends = torch.tensor(batch.lengths, device=batch.ids.device).cumsum(0)
    owners = torch.searchsorted(ends, batch.target_positions, right=True)
    return tokens.new_zeros(len(batch.lengths)).index_add(0, owners, tokens)


def _fingerprint(model: PreTrainedModel) -> str:
    """Hash the names, shapes and sums of bytes of a model's weights: enough to tell one beginning from another."""
    total = sha256()
    for name, parameter in model.named_parameters():
        # A sum of whole numbers is the same on any number of threads.
        amount = int(parameter.detach().flatten().view(torch.uint8).sum(dtype=torch.int64))
        total.update(f"{name} {tuple(parameter.shape)} {amount}".encode())
    return total.hexdigest()
