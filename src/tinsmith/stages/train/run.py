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
from tinsmith.model.load import check_context, load_model
from tinsmith.recipe import ModelConfig, TrainConfig
from tinsmith.stages.stage import Inputs
from tinsmith.stages.train import Settings
from tinsmith.tokens.shards import TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.checkpoint import save_trained
from tinsmith.train.distributed import Ranks, gather, join
from tinsmith.train.engine import Engine
from tinsmith.train.journal import summarise
from tinsmith.train.loop import fit
from tinsmith.train.memory import freed_memory_kept
from tinsmith.train.mixture import make_mixture, open_sets
from tinsmith.train.objectives import Setup
from tinsmith.train.prepare import finalize_model, model_statistics, prepare_model


def train(
    config: TrainConfig,
    *,
    settings: Settings,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
    workers: WorkerGroup | None = None,
) -> dict[str, float]:
    """Write `model/`, `log.jsonl` and, on a time budget, `schedule.jsonl`; resume after a crash.

    All `workers` call this together; the main one writes and returns the statistics, the others return nothing.
    Raises AssetError for the base or the teacher, TrainingError for a token set, a teacher that cannot teach it, a
    loss that diverges, or checkpoints that are all damaged.
    """
    setup = Setup(config, settings.model, inputs["tokenize"], progress)
    sets = open_sets(config, setup.tokenize)
    with join(workers, config.device, progress) as ranks, freed_memory_kept():
        # The model is renamed into place when training is done, and only then are checkpoints removed.
        if not ranks.broadcast((out / "model").exists()):
            _make_model(setup, sets, seed, out, ranks)
    if not ranks.is_main:
        return {}
    for leftover in (out / "checkpoints", out / "cache", *out.glob(".*.partial")):
        shutil.rmtree(leftover, ignore_errors=True)
    return summarise(out, {name: tokens.tokens for name, tokens in sets.items()}) | model_statistics(out)


def _make_model(setup: Setup, sets: dict[str, TokenSet], seed: int, out: Path, ranks: Ranks) -> None:
    """Train, and write `out/model` from the main process."""
    config, model, tokenize = setup.config, setup.model, setup.tokenize
    tokenizer = load_tokenizer(tokenize / "tokenizer")
    sample_set = next(iter(sets.values()))
    longest = max(int(tokens.lengths.max()) for tokens in sets.values())
    start = prepare_model(
        lambda: _start(model, tokenizer, longest, seed), setup, sample_set, seed=seed, out=out, ranks=ranks
    )
    for tokens in sets.values():
        _check_vocabulary(start, tokens, tokenize)
        check_context(start, int(tokens.lengths.max()), where="tokenize.context")
    # Fail before hours are spent on a model that could not be exported.
    refuse_unwritable(start.config, Path(model.scratch or model.base))
    refuse_unwritable_tokenizer(tokenize / "tokenizer")
    mixture = make_mixture(setup, sets, seed=seed)
    engine = Engine(start, config, mixture, seed=seed, ranks=ranks)
    fit(engine, out=out, progress=setup.progress)
    gather(engine.model, ranks)
    if ranks.is_main:
        trained = finalize_model(engine.model, config, sample_set, seed=seed, out=out, ranks=ranks)
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
            f"the token set has a vocabulary of {tokens.vocabulary}, and the model one of {rows}",
            where=str(where),
            next_step="use the base's own tokenizer",
        )
