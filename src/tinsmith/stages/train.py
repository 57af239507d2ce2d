"""Train the base, or fresh weights, on the token sets of its objectives."""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.base.assets import resolve_model
from tinsmith.base.errors import TrainingError
from tinsmith.base.launch import WorkerGroup
from tinsmith.base.progress import Progress
from tinsmith.gguf.families import refuse_unwritable
from tinsmith.gguf.metadata import refuse_unwritable_tokenizer
from tinsmith.model.families import create
from tinsmith.model.load import load_model
from tinsmith.recipe import ModelConfig, TrainConfig
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.checkpoint import save_trained
from tinsmith.train.distributed import Ranks, gather, join
from tinsmith.train.engine import Engine
from tinsmith.train.journal import summarise
from tinsmith.train.loop import fit
from tinsmith.train.memory import freed_memory_kept
from tinsmith.train.objectives import check_context
from tinsmith.train.parts import make_mixture, open_sets
from tinsmith.train.prepare import finalize_model, model_statistics, prepare_model


def train(
    config: TrainConfig,
    *,
    model: ModelConfig,
    tokenize: Path,
    seed: int,
    out: Path,
    progress: Progress,
    workers: WorkerGroup | None = None,
) -> dict[str, float]:
    """Write `model/`, `log.jsonl` and, on a budget in time, `schedule.jsonl`. Goes on where a kill left off.

    All processes of a workers come here together; the first writes and returns the statistics, the others nothing.
    Raises AssetError for the base or the teacher, TrainingError for a token set, a teacher that cannot teach it, a
    loss that is not finite, or checkpoints that are all damaged.
    """
    sets = open_sets(config, tokenize)
    with join(workers, config.device, progress) as ranks, freed_memory_kept():
        # The model is renamed into place when training is over, and only then are checkpoints removed.
        if not ranks.broadcast((out / "model").exists()):
            _make_model(config, model, sets, tokenize, seed, out, progress, ranks)
    if not ranks.is_main:
        return {}
    for leftover in ("checkpoints", "cache"):
        shutil.rmtree(out / leftover, ignore_errors=True)
    return summarise(out, {name: tokens.tokens for name, tokens in sets.items()}) | model_statistics(out)


def _make_model(
    config: TrainConfig,
    model: ModelConfig,
    sets: dict[str, TokenSet],
    tokenize: Path,
    seed: int,
    out: Path,
    progress: Progress,
    ranks: Ranks,
) -> None:
    tokenizer = load_tokenizer(tokenize / "tokenizer")
    shaped_on = next(iter(sets.values()))
    start = prepare_model(
        lambda: _start(model, tokenizer, max(int(each.lengths.max()) for each in sets.values()), seed),
        config,
        shaped_on,
        tokenize=tokenize,
        seed=seed,
        out=out,
        progress=progress,
        ranks=ranks,
    )
    for tokens in sets.values():
        _check_vocabulary(start, tokens, tokenize)
        check_context(start, tokens, where="tokenize.context")
    # Before hours are spent on what could not be handed over.
    refuse_unwritable(start.config, Path(model.scratch or model.base))
    refuse_unwritable_tokenizer(tokenize / "tokenizer")
    mixture = make_mixture(config, sets, model=model, tokenize=tokenize, seed=seed, progress=progress)
    engine = Engine(start, config, mixture, seed=seed, ranks=ranks)
    fit(engine, out=out, progress=progress)
    gather(engine.model, ranks)
    if ranks.is_main:
        trained = finalize_model(engine.model, config, shaped_on, seed=seed, out=out, ranks=ranks)
        save_trained(trained, tokenizer, out / "model")


def _start(
    model: ModelConfig, tokenizer: PreTrainedTokenizerFast, longest: int, seed: int
) -> PreTrainedModel:
    if model.scratch:
        return create(model.scratch, tokenizer, longest=longest, seed=seed)
    return load_model(resolve_model(model.base).path)


def _check_vocabulary(model: PreTrainedModel, tokens: TokenSet, where: Path) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if tokens.vocabulary > rows:
        raise TrainingError(
            f"the tokens are of {tokens.vocabulary} kinds, the model knows {rows}",
            where=str(where),
            next_step="use the base's own tokenizer",
        )
