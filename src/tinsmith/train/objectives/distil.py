"""Distillation: learn a teacher's distributions beside the text itself."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.base.assets import Asset, resolve_model
from tinsmith.base.files import read_json
from tinsmith.base.progress import Progress
from tinsmith.model.load import load_model
from tinsmith.model.output_layer import output_layer
from tinsmith.recipe import DistilConfig
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.attention import target_hidden
from tinsmith.train.chunked_loss import chunked_loss
from tinsmith.train.objectives import Objective, Setup
from tinsmith.train.objectives.next_token import NextToken
from tinsmith.train.teachers import CachedTeacher, LiveTeacher, Source, Teacher, Vocabulary
from tinsmith.train.universal import Spelling, UniversalTeacher


class Distil(NextToken):
    """(1 - share) cross-entropy + share T^2 divergence from a teacher (Hinton et al. 2015, arXiv:1503.02531).

    The divergence mixes KL(teacher to student) with KL(student to teacher), weighted by `reverse`; the latter seeks
    modes (MiniLLM, arXiv:2306.08543). Both distributions are at temperature T. All in nats.
    """

    def __init__(self, config: DistilConfig, teacher: Teacher) -> None:
        self.config, self.teacher = config, teacher

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Open the teacher, or cache on disk what is needed of it."""
        self.teacher.prepare(model, batches, cache, progress)

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the summed loss; the figures are its two terms, the teacher's without its factor T^2."""
        compare, figures = self.teacher.compare(batch)
        share, scale = self.config.share, self.config.share * self.teacher.scale
        terms = torch.zeros(2, dtype=torch.float64, device=batch.ids.device)

        def both(logits: Tensor, rows: slice) -> Tensor:
            text = cross_entropy(logits, batch.labels[rows], reduction="sum")
            taught = compare(logits, rows)
            terms.add_(torch.stack([text.detach(), taught.detach()]))
            return (1 - share) * text + scale * taught

        loss = chunked_loss(target_hidden(model, batch), output_layer(model), both)
        text, taught = terms.tolist()
        return loss, {**figures, "cross_entropy": text, "divergence": taught}


def create(setup: Setup) -> Objective:
    """Create the objective with its teacher. Raises AssetError for the teacher, TrainingError if it cannot teach."""
    config = setup.config.distil
    # Without a named teacher, the model teaches that streamline began with.
    asset = resolve_model(config.teacher or setup.model.base)
    return Distil(config, choose_teacher(config, asset, setup.tokenize, setup.progress))


def choose_teacher(config: DistilConfig, asset: Asset, tokenize: Path, progress: Progress) -> Teacher:
    """Choose how to compare teacher and student by their tokenizers, and report the choice."""
    student, theirs = load_tokenizer(tokenize / "tokenizer"), load_tokenizer(asset.path)
    source = Source(asset.sha256, lambda: load_model(asset.path))
    vocabulary = _shared_vocabulary(student, theirs, tokenize / "kept.json")
    if vocabulary is None:
        progress.say(
            f"  teacher: {asset.name} has another tokenizer, so sorted probabilities are compared wherever both "
            "have just ended a token (Universal Logit Distillation)"
        )
        return UniversalTeacher(config, source, Spelling(student), Spelling(theirs))
    shared = "the same tokens" if vocabulary.kept is None else f"the {vocabulary.size} tokens that were kept"
    where = f"its top {config.top_k} cached on disk" if config.top_k else "in memory"
    progress.say(f"  teacher: {asset.name}, compared over {shared}, {where}")
    return (CachedTeacher if config.top_k else LiveTeacher)(config, source, vocabulary)


def _shared_vocabulary(
    student: PreTrainedTokenizerFast, teacher: PreTrainedTokenizerFast, kept_file: Path
) -> Vocabulary | None:
    """Return the tokens that mean the same to both; None where their tokenizers are unrelated."""
    if student.get_vocab() == teacher.get_vocab():
        return Vocabulary(len(student))
    if kept_file.exists():
        kept = [int(token) for token in read_json(kept_file)["kept"]]
        ours, theirs = student.convert_ids_to_tokens(range(len(kept))), teacher.convert_ids_to_tokens(kept)
        if len(kept) == len(student) and ours == theirs:
            return Vocabulary(len(kept), torch.tensor(kept))
    return None
