"""Train the base, or fresh weights, on the token set."""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.foundation.assets import resolve_model
from tinsmith.foundation.errors import TrainingError
from tinsmith.foundation.progress import Progress
from tinsmith.model.families import create
from tinsmith.model.gguf_metadata import refuse_unwritable
from tinsmith.model.load import load_model
from tinsmith.recipe import ModelConfig, TrainConfig
from tinsmith.tokens.batches import Batches
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.checkpoint import save_trained
from tinsmith.train.engine import Engine
from tinsmith.train.journal import read_rows, summarise
from tinsmith.train.loop import fit
from tinsmith.train.mixture import Mixture, Part
from tinsmith.train.objectives import NextToken


def train(
    config: TrainConfig, *, model: ModelConfig, tokenize: Path, seed: int, out: Path, progress: Progress
) -> dict[str, float]:
    """Write `model/`, `log.jsonl` and, on a budget in time, `schedule.jsonl`. Goes on where a kill left off.

    Raises AssetError for the base, TrainingError for the token set, a loss that is not finite, or checkpoints
    that are all damaged.
    """
    tokens = TokenSet(tokenize)
    # The model is renamed into place when training is over, and only then are checkpoints removed.
    if not (out / "model").exists():
        tokenizer = load_tokenizer(tokenize / "tokenizer")
        start = _start(model, tokenizer, seed)
        _check_vocabulary(start, tokens, tokenize)
        # Before hours are spent on what could not be handed over.
        refuse_unwritable(start.config, Path(model.base))
        batches = Batches(tokens, batch_tokens=config.batch_tokens, micro_rows=config.micro_rows, seed=seed)
        engine = Engine(start, config, Mixture([Part("next_token", NextToken(), batches)]), seed=seed)
        fit(engine, out=out, progress=progress)
        save_trained(engine.model, tokenizer, out / "model")
    for leftover in ("checkpoints", "cache"):
        shutil.rmtree(out / leftover, ignore_errors=True)
    return summarise(read_rows(out / "log.jsonl"), tokens.tokens)


def _start(model: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    if model.scratch:
        return create(model.scratch, tokenizer, seed=seed)
    return load_model(resolve_model(model.base).path)


def _check_vocabulary(model: PreTrainedModel, tokens: TokenSet, where: Path) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if tokens.vocabulary > rows:
        raise TrainingError(
            f"the tokens are of {tokens.vocabulary} kinds, the model knows {rows}",
            where=str(where),
            next_step="use the base's own tokenizer",
        )
