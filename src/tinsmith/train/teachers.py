"""Teachers that share the student's vocabulary, or one that holds it: in memory, or as their best tokens on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

from tinsmith.base.errors import TinsmithError, TrainingError
from tinsmith.base.progress import Progress
from tinsmith.recipe import DistilConfig
from tinsmith.tokens.batches import Batch, Batches, make_batch
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.attention import NAME, isolate_sequences
from tinsmith.train.chunked import ChunkLoss, logit_rows
from tinsmith.train.distil import divergence, in_buckets
from tinsmith.train.objectives import check_context, check_output_layer, last_hidden, output_layer
from tinsmith.train.resumable_arrays import RowFile, Rows, digest, sequence_runs

WHERE = "train.distil.teacher"
_SAMPLE_TOKENS = 64
_SAME = 1e-4  # of the largest hidden state; kernels differ by their rounding


@dataclass(frozen=True)
class Source:
    """A teacher's weights: `identity` tells them from others, `load` opens them when they are needed."""

    identity: str
    load: Callable[[], PreTrainedModel]


@dataclass(frozen=True)
class Vocabulary:
    """The `size` tokens that student and teacher are compared over.

    They have the same ids in both, or `kept` (size,) gives the teacher's id of each of the student's.
    """

    size: int
    kept: Tensor | None = None

    def read(self, ids: Tensor) -> Tensor:
        """Return the student's token ids as the teacher's."""
        return ids if self.kept is None else self.kept.to(ids.device)[ids]

    def pick(self, logits: Tensor) -> Tensor:
        """Return the teacher's logits (n, W) of the compared tokens (n, size)."""
        return logits[:, : self.size] if self.kept is None else logits[:, self.kept.to(logits.device)]

    @property
    def rows(self) -> int:
        """Count the rows that the teacher's embeddings must have."""
        return self.size if self.kept is None else int(self.kept.max()) + 1


class LiveTeacher:
    """A teacher in memory, which reads the same tokens as the student.

    Both distributions are over the compared tokens only, renormalised: rows that pad an output layer, and tokens
    that the student no longer has, are left out of both.
    """

    def __init__(self, config: DistilConfig, source: Source, vocabulary: Vocabulary) -> None:
        self.config, self.source, self.vocabulary = config, source, vocabulary
        self.scale = config.temperature**2

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Open the teacher. Raises TrainingError where it cannot read the student's tokens."""
        self._model = open_teacher(self.source, self.vocabulary, batches.tokens).to(model.device)

    def compare(self, batch: Batch) -> tuple[ChunkLoss, dict[str, float]]:
        """Return the mixed KL divergence from the teacher at the places of a batch."""
        hidden = teacher_hidden(self._model, replace(batch, ids=self.vocabulary.read(batch.ids)))
        output, warmth = output_layer(self._model), self.config.temperature

        def judge(logits: Tensor, rows: slice) -> Tensor:
            with torch.no_grad():
                theirs = self.vocabulary.pick(linear(hidden[rows], *output).float())
                theirs = (theirs / warmth).log_softmax(dim=1)
            ours = (logits[:, : self.vocabulary.size] / warmth).log_softmax(dim=1)
            return divergence(ours, theirs, self.config.reverse)

        return judge, {}


class CachedTeacher:
    """What is needed of a teacher, on disk: its `top_k` likeliest tokens at each supervised place.

    A row holds k token ids, and k + 1 log-probabilities in float16: the last is that of all other tokens together,
    so that student and teacher are compared over k + 1 outcomes whose probabilities add up to one.
    """

    def __init__(self, config: DistilConfig, source: Source, vocabulary: Vocabulary) -> None:
        """Raise TrainingError where as many tokens are to be kept as there are."""
        if config.top_k >= vocabulary.size:
            raise TrainingError(
                f"{config.top_k} of {vocabulary.size} tokens leave none to stand for the others",
                where="train.distil.top_k",
                next_step="take fewer, or 0 to keep the teacher in memory",
            )
        self.config, self.source, self.vocabulary = config, source, vocabulary
        self.scale = config.temperature**2

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Compute what is not yet on disk, then let go of the teacher.

        Raises TrainingError where the cache was made by another teacher, from other tokens or at another setting.
        """
        tokens, size, k = batches.tokens, batches.tokens.group, self.config.top_k
        places = [int(tokens.sequence(number)[1][1:].sum()) for number in range(len(tokens))]
        self._starts = np.concatenate([[0], np.cumsum(places)])
        columns = {"ids": ("<u4", k), "log_probs": ("<f2", k + 1)}
        table = RowFile(cache, columns, self._facts(tokens))
        blocks = sequence_runs(tokens)
        sizes = [int(self._starts[block.stop * size] - self._starts[block.start * size]) for block in blocks]
        teacher: PreTrainedModel | None = None

        def compute(block: int) -> Rows:
            nonlocal teacher
            if teacher is None:
                teacher = open_teacher(self.source, self.vocabulary, tokens).to(model.device)
            return self._best(teacher, batches.batch(blocks[block]).to(model.device))

        self._rows = table.fill(sizes, compute, "teacher", progress)

    def compare(self, batch: Batch) -> tuple[ChunkLoss, dict[str, float]]:
        """Return the mixed KL divergence over the teacher's likeliest tokens and the rest."""
        spans = [slice(self._starts[number], self._starts[number + 1]) for number in batch.numbers]
        device, warmth = batch.ids.device, self.config.temperature
        ids, theirs = (
            torch.from_numpy(np.concatenate([self._rows[name][span] for span in spans]).astype(kind)).to(
                device
            )
            for name, kind in (("ids", np.int64), ("log_probs", np.float32))
        )
        theirs = theirs.log_softmax(dim=1)  # float16 rounded them, and they must add up to one

        def judge(logits: Tensor, rows: slice) -> Tensor:
            ours = (logits[:, : self.vocabulary.size] / warmth).log_softmax(dim=1)
            return divergence(in_buckets(ours, ids[rows]), theirs[rows], self.config.reverse)

        return judge, {}

    def _facts(self, tokens: TokenSet) -> dict[str, object]:
        kept = None if self.vocabulary.kept is None else self.vocabulary.kept.tolist()
        return {
            "teacher": self.source.identity,
            "tokens": digest(tokens),
            "temperature": self.config.temperature,
            "vocabulary": kept or self.vocabulary.size,
        }

    @torch.no_grad()
    def _best(self, teacher: PreTrainedModel, batch: Batch) -> Rows:
        hidden = teacher_hidden(teacher, replace(batch, ids=self.vocabulary.read(batch.ids)))
        (weight, bias), found = output_layer(teacher), []
        for rows in logit_rows(len(hidden), len(weight)):
            logits = (
                self.vocabulary.pick(linear(hidden[rows], weight, bias).float()) / self.config.temperature
            )
            log_probs = logits.log_softmax(dim=1)
            ids = log_probs.topk(self.config.top_k, dim=1).indices
            found.append((ids.cpu().numpy(), in_buckets(log_probs, ids).cpu().numpy()))
        ids, log_probs = (np.concatenate(each) for each in zip(*found, strict=True))
        return {"ids": ids, "log_probs": log_probs}


def open_teacher(source: Source, vocabulary: Vocabulary, tokens: TokenSet) -> PreTrainedModel:
    """Open a teacher that keeps sequences apart. Raises TrainingError where it cannot teach these tokens."""
    model: PreTrainedModel = source.load().eval().requires_grad_(False)
    rows = model.get_input_embeddings().weight.shape[0]
    if vocabulary.rows > rows:
        raise TrainingError(
            f"it knows {rows} tokens, and {vocabulary.rows} are asked of it",
            where=WHERE,
            next_step="name a teacher of the student's vocabulary, or one with a tokenizer of its own",
        )
    check_context(model, tokens, where=WHERE)
    ids, _ = tokens.sequence(0)
    sample = make_batch([(ids[:_SAMPLE_TOKENS], np.ones_like(ids[:_SAMPLE_TOKENS], dtype=np.uint8))])
    check_teacher(model, replace(sample, ids=vocabulary.read(sample.ids)))
    return model


@torch.no_grad()
def check_teacher(model: PreTrainedModel, sample: Batch) -> None:
    """Have a model keep sequences apart, and raise TrainingError where it changes its logits.

    Where its attention has parts that only its own code knows, or other layers look beyond a sequence, it goes on
    reading with its own code, one sequence at a time.
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
    """Return a teacher's last hidden states (S, H) at the places of a batch."""
    states: Tensor = last_hidden(model, batch)[0, batch.target_positions]
    return states
