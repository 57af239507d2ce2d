"""Distillation: learn a teacher's distributions beside the text itself."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad
from transformers import PreTrainedModel

from tinsmith.base.progress import Progress
from tinsmith.recipe import DistilConfig
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.train.chunked import ChunkLoss, chunked_loss
from tinsmith.train.objectives import last_hidden, output_layer


class Teacher(Protocol):
    """Where the distributions come from, and how a student's are held against them."""

    scale: float  # what makes its gradients as large as those of the cross-entropy, whatever the temperature

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Do once what needs to be done before the first step."""

    def compare(self, batch: Batch) -> tuple[ChunkLoss, dict[str, float]]:
        """Return what sums the distances of the student's logits (n, V) at some of the S places, and figures."""


class Distil:
    """(1 - share) cross-entropy + share T^2 divergence from a teacher (Hinton et al. 2015, arXiv:1503.02531).

    The divergence is a mix of KL(teacher to student) and, weighted by `reverse`, KL(student to teacher), which
    seeks modes (as in MiniLLM, arXiv:2306.08543); both distributions are at temperature T. All in nats.
    """

    def __init__(self, config: DistilConfig, teacher: Teacher) -> None:
        self.config, self.teacher = config, teacher

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Open the teacher, or have all that is needed of it on disk."""
        self.teacher.prepare(model, batches, cache, progress)

    def num_targets(self, batch: Batch) -> int:
        """Count the supervised tokens."""
        return len(batch.labels)

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the summed loss; the figures are its two parts, the teacher's without its factor T^2."""
        compare, figures = self.teacher.compare(batch)
        share, scale = self.config.share, self.config.share * self.teacher.scale
        parts = torch.zeros(2, dtype=torch.float64, device=batch.ids.device)

        def judge(logits: Tensor, rows: slice) -> Tensor:
            text = cross_entropy(logits, batch.labels[rows], reduction="sum")
            other = compare(logits, rows)
            parts.add_(torch.stack([text.detach(), other.detach()]))
            return (1 - share) * text + scale * other

        hidden = last_hidden(model, batch)[0, batch.target_positions]
        loss = chunked_loss(hidden, *output_layer(model), judge)
        text, other = parts.tolist()
        return loss, {**figures, "cross_entropy": text, "divergence": other}


def divergence(student: Tensor, teacher: Tensor, reverse: float) -> Tensor:
    """Return the sum over rows of (1 - reverse) KL(teacher to student) + reverse KL(student to teacher), in nats.

    Both are log-probabilities (n, B) over the same B outcomes.
    """
    total = student.new_zeros(())
    if reverse < 1:
        total = total + (1 - reverse) * (teacher.exp() * (teacher - student)).sum()
    if reverse > 0:
        total = total + reverse * (student.exp() * (student - teacher)).sum()
    return total


def in_buckets(log_probs: Tensor, ids: Tensor) -> Tensor:
    """Return log-probabilities (n, k + 1) of the tokens ids (n, k) and of all others together, from (n, V)."""
    others = log_probs.scatter(1, ids, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.cat([log_probs.gather(1, ids), others], dim=1)


def universal_distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the summed L1 distance of sorted probabilities (Universal Logit Distillation, arXiv:2402.12030).

    Logits (n, V) and (n, W) of any two vocabularies; the shorter rows are filled up with zeros.
    """
    ours, theirs = (_ranked((logits / temperature).softmax(dim=1)) for logits in (student, teacher))
    width = max(ours.shape[1], theirs.shape[1])
    ours, theirs = (pad(each, (0, width - each.shape[1])) for each in (ours, theirs))
    return (ours - theirs).abs().sum()


def _ranked(values: Tensor) -> Tensor:
    """Sort each row of (n, V), the greatest first."""
    if values.device.type != "cpu":
        return values.sort(dim=1, descending=True).values
    # On the CPU numpy sorts with vector instructions, four times as fast as torch and more.
    order = np.argsort(-values.detach().numpy(), axis=1)
    return values.gather(1, torch.from_numpy(order))
