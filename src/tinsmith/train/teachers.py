"""Teachers that share the student's vocabulary, or contain it: in memory, or as their top tokens cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tinsmith.base.errors import TinsmithError, TrainingError
from tinsmith.base.progress import Progress
from tinsmith.model.load import check_context
from tinsmith.model.output_layer import output_layer
from tinsmith.recipe import DistilConfig
from tinsmith.tokens.batches import Batch, Batches, make_batch
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.attention import NAME, check_output_layer, isolate_sequences, last_hidden, target_hidden
from tinsmith.train.chunked_loss import ChunkLoss, logit_rows
from tinsmith.train.resumable_arrays import ResumableArrays, Rows, digest, sequence_runs

WHERE = "train.distil.teacher"
_SAMPLE_TOKENS = 64
_SAME = 1e-4  # of the largest hidden state; kernels differ in their rounding


class Teacher(Protocol):
    """A source of distributions, and a distance of the student's from them."""

    scale: float  # makes its gradients as large as those of the cross-entropy at any temperature

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Do once what must be done before the first step."""

    def compare(self, batch: Batch) -> tuple[ChunkLoss, dict[str, float]]:
        """Return a function that sums the distances over a chunk of student logits (n, V), and further figures."""


@dataclass(frozen=True)
class Source:
    """A teacher's weights: `identity` distinguishes them from others, `load` opens them when they are needed."""

    identity: str
    load: Callable[[], PreTrainedModel]


@dataclass(frozen=True)
class Vocabulary:
    """The `size` tokens that student and teacher are compared over.

    They have the same ids in both, or `kept` (size,) gives the teacher's id of each student id.
    """

    size: int
    kept: Tensor | None = None

    def to_teacher(self, ids: Tensor) -> Tensor:
        """Translate the student's token ids to the teacher's."""
        return ids if self.kept is None else self.kept.to(ids.device)[ids]

    def pick(self, logits: Tensor) -> Tensor:
        """Return the compared tokens' logits (n, size) out of the teacher's (n, W)."""
        return logits[:, : self.size] if self.kept is None else logits[:, self.kept.to(logits.device)]

    @property
    def rows(self) -> int:
        """Count the rows that the teacher's embeddings must have."""
        return self.size if self.kept is None else int(self.kept.max()) + 1


class LiveTeacher:
    """A teacher in memory that reads the same tokens as the student.

    Both distributions are renormalised over the compared tokens. Padding rows of an output layer, and tokens that the
    student no longer has, count in neither.
    """

    def __init__(self, config: DistilConfig, source: Source, vocabulary: Vocabulary) -> None:
        self.config, self.source, self.vocabulary = config, source, vocabulary
        self.scale = config.temperature**2

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Open the teacher. Raises TrainingError where it cannot read the student's tokens."""
        self._model = open_teacher(self.source, self.vocabulary, batches.tokens).to(model.device)

    def compare(self, batch: Batch) -> tuple[ChunkLoss, dict[str, float]]:
        """Return the mixed KL divergence from the teacher at a batch's target positions."""
        hidden = teacher_hidden(self._model, replace(batch, ids=self.vocabulary.to_teacher(batch.ids)))
        output, temperature = output_layer(self._model), self.config.temperature

        def distance(logits: Tensor, rows: slice) -> Tensor:
            with torch.no_grad():
                theirs = self.vocabulary.pick(output.logits(hidden[rows]))
                theirs = (theirs / temperature).log_softmax(dim=1)
            ours = (logits[:, : self.vocabulary.size] / temperature).log_softmax(dim=1)
            return divergence(ours, theirs, self.config.reverse)

        return distance, {}


class CachedTeacher:
    """A teacher on disk: its `top_k` most probable tokens at each target position.

    A row holds k token ids and k + 1 log-probabilities in float16. The last is that of all other tokens together, so
    the comparison is over k + 1 outcomes whose probabilities sum to one.
    """

    def __init__(self, config: DistilConfig, source: Source, vocabulary: Vocabulary) -> None:
        """Raise TrainingError where `top_k` is not below the size of the vocabulary."""
        if config.top_k >= vocabulary.size:
            raise TrainingError(
                f"{config.top_k} of {vocabulary.size} tokens leave no other token to sum up",
                where="train.distil.top_k",
                next_step="take fewer, or 0 to keep the teacher in memory",
            )
        self.config, self.source, self.vocabulary = config, source, vocabulary
        self.scale = config.temperature**2

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Compute what is not yet on disk, then release the teacher.

        Raises TrainingError where the cache was made by another teacher, from other tokens or with other settings.
        """
        tokens, size, k = batches.tokens, batches.tokens.group, self.config.top_k
        targets = [int(tokens.sequence(number)[1][1:].sum()) for number in range(len(tokens))]
        self._starts = np.concatenate([[0], np.cumsum(targets)])
        columns = {"ids": ("<u4", k), "log_probs": ("<f2", k + 1)}
        arrays = ResumableArrays(cache, columns, self._facts(tokens))
        blocks = sequence_runs(tokens)
        sizes = [int(self._starts[block.stop * size] - self._starts[block.start * size]) for block in blocks]
        teacher: PreTrainedModel | None = None

        def compute(block: int) -> Rows:
            nonlocal teacher
            if teacher is None:
                teacher = open_teacher(self.source, self.vocabulary, tokens).to(model.device)
            return self._top(teacher, batches.batch(blocks[block]).to(model.device))

        self._rows = arrays.fill(sizes, compute, "teacher", progress)

    def compare(self, batch: Batch) -> tuple[ChunkLoss, dict[str, float]]:
        """Return the mixed KL divergence over the teacher's top tokens and the rest."""
        spans = [slice(self._starts[number], self._starts[number + 1]) for number in batch.numbers]
        device, temperature = batch.ids.device, self.config.temperature
        ids, theirs = (
            torch.from_numpy(np.concatenate([self._rows[name][span] for span in spans]).astype(dtype)).to(
                device
            )
            for name, dtype in (("ids", np.int64), ("log_probs", np.float32))
        )
        theirs = theirs.log_softmax(dim=1)  # float16 rounded them, and they must sum to one

        def distance(logits: Tensor, rows: slice) -> Tensor:
            ours = (logits[:, : self.vocabulary.size] / temperature).log_softmax(dim=1)
            return divergence(in_buckets(ours, ids[rows]), theirs[rows], self.config.reverse)

        return distance, {}

    def _facts(self, tokens: TokenSet) -> dict[str, object]:
        kept = None if self.vocabulary.kept is None else self.vocabulary.kept.tolist()
        return {
            "teacher": self.source.identity,
            "tokens": digest(tokens),
            "temperature": self.config.temperature,
            "vocabulary": kept or self.vocabulary.size,
        }

    @torch.no_grad()
    def _top(self, teacher: PreTrainedModel, batch: Batch) -> Rows:
        hidden = teacher_hidden(teacher, replace(batch, ids=self.vocabulary.to_teacher(batch.ids)))
        output, chunks = output_layer(teacher), []
        for rows in logit_rows(len(hidden), len(output.weight)):
            logits = self.vocabulary.pick(output.logits(hidden[rows])) / self.config.temperature
            log_probs = logits.log_softmax(dim=1)
            ids = log_probs.topk(self.config.top_k, dim=1).indices
            chunks.append((ids.cpu().numpy(), in_buckets(log_probs, ids).cpu().numpy()))
        ids, log_probs = (np.concatenate(column) for column in zip(*chunks, strict=True))
        return {"ids": ids, "log_probs": log_probs}


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


def open_teacher(source: Source, vocabulary: Vocabulary, tokens: TokenSet) -> PreTrainedModel:
    """Open a teacher that keeps sequences apart. Raises TrainingError where it cannot teach these tokens."""
    model: PreTrainedModel = source.load().eval().requires_grad_(False)
    rows = model.get_input_embeddings().weight.shape[0]
    if vocabulary.rows > rows:
        raise TrainingError(
            f"it has {rows} tokens, and the student has {vocabulary.rows}",
            where=WHERE,
            next_step="name a teacher with the student's vocabulary, or one with another tokenizer",
        )
    check_context(model, int(tokens.lengths.max()), where=WHERE)
    ids, _ = tokens.sequence(0)
    sample = make_batch([(ids[:_SAMPLE_TOKENS], np.ones_like(ids[:_SAMPLE_TOKENS], dtype=np.uint8))])
    check_teacher(model, replace(sample, ids=vocabulary.to_teacher(sample.ids)))
    return model


@torch.no_grad()
def check_teacher(model: PreTrainedModel, sample: Batch) -> None:
    """Make a model keep sequences apart; raise TrainingError where it changes its logits after the output layer.

    Where attention has parts that only the model's own code knows, or other layers look beyond a sequence, it keeps
    its own code and reads one sequence at a time.
    """
    try:
        stock, rolled = model.config._attn_implementation, sample.ids.roll(1, dims=1)
        alone = model.base_model(input_ids=rolled, use_cache=False).last_hidden_state
        isolate_sequences(model)
        if model.config._attn_implementation == NAME:
            length = sample.ids.shape[1]
            both = replace(
                sample,
                ids=torch.cat([sample.ids, rolled], dim=1),
                positions=torch.arange(length).repeat(2)[None].to(sample.ids.device),
                lengths=(length, length),
            )
            packed = last_hidden(model, both)[:, length:]
            if not torch.allclose(packed, alone, rtol=_SAME, atol=_SAME * float(alone.abs().max())):
                model.set_attn_implementation(stock)
        check_output_layer(model, sample)
    except TinsmithError as error:
        raise TrainingError(error.what, where=WHERE, next_step="name a teacher of another family") from error


@torch.no_grad()
def teacher_hidden(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Return a teacher's last hidden states (S, H) at a batch's target positions."""
    return target_hidden(model, batch)
