"""From the recipe's objectives to the components of a step: token sets, batches, and the teacher that fits."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from tinsmith.base.assets import Asset, resolve_model
from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json
from tinsmith.base.progress import Progress
from tinsmith.model.load import load_model
from tinsmith.recipe import DistilConfig, ModelConfig, TrainConfig
from tinsmith.tokens.batches import Batches
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.distil import Distil, Teacher
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives import NextToken, Objective
from tinsmith.train.preference import Dpo
from tinsmith.train.teachers import CachedTeacher, LiveTeacher, Source, Vocabulary
from tinsmith.train.universal import Spelling, UniversalTeacher

# Where below the stage tokenize each objective's tokens lie, and what makes them.
_SETS = {
    "next_token": ("", "documents"),
    "distil": ("", "documents"),
    "sft": ("sft", "tokenize.conversations"),
    "dpo": ("dpo", "tokenize.preferences"),
}


def open_sets(config: TrainConfig, tokenize: Path) -> dict[str, TokenSet]:
    """Open the token set of each objective. Raises TrainingError where one is missing, empty or without targets."""
    sets = {}
    for name in config.shares:
        folder, made_from = _SETS[name]
        if not (tokenize / folder / "tokens.json").exists():
            raise TrainingError(
                f"there are no tokens for the objective {name}",
                where=str(tokenize / folder),
                next_step=f"name {made_from} in the recipe and run the stage tokenize with this train.objective",
            )
        sets[name] = TokenSet(tokenize / folder)
    return sets


def make_mixture(
    config: TrainConfig,
    sets: dict[str, TokenSet],
    *,
    model: ModelConfig,
    tokenize: Path,
    seed: int,
    progress: Progress,
) -> Mixture:
    """Give each objective its batches and its share of a step's tokens and loss.

    Raises AssetError for the teacher, TrainingError where it cannot teach these tokens.
    """
    components = []
    for name, share in config.shares.items():
        batches = Batches(
            sets[name],
            batch_tokens=max(1, round(config.batch_tokens * share)),
            micro_rows=config.micro_rows,
            seed=seed,
        )
        if len(config.shares) > 1 and batches.longest > batches.batch_tokens:
            progress.say(
                f"  {name}: its share of a step is {batches.batch_tokens} tokens and its longest example has "
                f"{batches.longest}; such steps are bigger, though its share of the loss stays {share:.0%}"
            )
        objective: Objective
        if name == "distil":
            # The model that streamline began with, where no other teacher is named.
            asset = resolve_model(config.distil.teacher or model.base)
            objective = Distil(config.distil, choose_teacher(config.distil, asset, tokenize, progress))
        else:
            objective = Dpo(config.dpo) if name == "dpo" else NextToken()
        components.append(MixtureComponent(name, objective, batches, share))
    return Mixture(components)


def choose_teacher(config: DistilConfig, asset: Asset, tokenize: Path, progress: Progress) -> Teacher:
    """Compare the teacher's tokenizer with the student's, and say how the two are held against each other."""
    student, own = load_tokenizer(tokenize / "tokenizer"), load_tokenizer(asset.path)
    source = Source(asset.sha256, lambda: load_model(asset.path))
    vocabulary = _shared_vocabulary(student, own, tokenize / "kept.json")
    if vocabulary is None:
        progress.say(
            f"  teacher: {asset.name} has a tokenizer of its own, so sorted probabilities are compared where both "
            "have just ended a token (Universal Logit Distillation)"
        )
        return UniversalTeacher(config, source, Spelling(student), Spelling(own))
    shared = "the same tokens" if vocabulary.kept is None else f"the {vocabulary.size} tokens that were kept"
    where = f"its {config.top_k} likeliest, cached on disk" if config.top_k else "in memory"
    progress.say(f"  teacher: {asset.name}, compared over {shared}, {where}")
    return (CachedTeacher if config.top_k else LiveTeacher)(config, source, vocabulary)


def _shared_vocabulary(
    student: PreTrainedTokenizerFast, teacher: PreTrainedTokenizerFast, kept_file: Path
) -> Vocabulary | None:
    """Return the tokens that mean the same to both; None where their tokenizers are strangers."""
    if student.get_vocab() == teacher.get_vocab():
        return Vocabulary(len(student))
    if kept_file.exists():
        kept = [int(number) for number in read_json(kept_file)["kept"]]
        ours, theirs = student.convert_ids_to_tokens(range(len(kept))), teacher.convert_ids_to_tokens(kept)
        if len(kept) == len(student) and ours == theirs:
            return Vocabulary(len(kept), torch.tensor(kept))
    return None
