"""What is trained: the start as it is, made smaller, or frozen beside adapters; and the plain model that comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.base.progress import Progress
from tinsmith.model.blocks import sample_loss
from tinsmith.model.load import parameter_count
from tinsmith.model.lora import adapt, merge
from tinsmith.model.prune import streamlined
from tinsmith.recipe import StreamlineConfig, TrainConfig
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.distributed import Ranks

_SURGERY_TOKENS = 1024  # of training sequences, on which streamline decides what goes
_MERGE_TOKENS = 128
_ADAPTERS, _STREAMLINE = "adapters.json", "streamline.json"


def prepare_model(
    load: Callable[[], PreTrainedModel],
    config: TrainConfig,
    tokens: TokenSet,
    *,
    tokenize: Path,
    seed: int,
    out: Path,
    progress: Progress,
    ranks: Ranks,
) -> PreTrainedModel:
    """Return what is trained. `out/streamline.json` tells of a surgery, which is done once and cached over kills.

    Raises RecipeError for sizes or adapters that the start has no room for.
    """
    if config.streamline == StreamlineConfig():
        model = load()
    else:
        kept = _read_kept(tokenize / "kept.json") if config.streamline.vocabulary else None
        # The others find the first process's work in the cache.
        with ranks.main_first():
            sample = _sample(tokens, _SURGERY_TOKENS)
            model, report = streamlined(load, config.streamline, sample, kept, out / "cache", progress)
        if ranks.is_main:
            write_json(out / _STREAMLINE, report)
    if config.trainable == "lora":
        adapt(model, config.lora, seed=seed)
    return model


def finalize_model(
    model: PreTrainedModel, config: TrainConfig, tokens: TokenSet, *, seed: int, out: Path, ranks: Ranks
) -> PreTrainedModel:
    """Return the trained model as a plain one whose weights are whole on this process.

    `out/adapters.json` tells of adapters and of the proof that they were folded in exactly; the loss after training
    goes into `out/streamline.json`. Raises TrainingError where the proof fails.
    """
    if ranks.size > 1:
        model = _unwrapped(model, config, seed)
    model.set_attn_implementation("sdpa")
    model.eval()
    with torch.compiler.set_stance("force_eager"):
        if config.trainable == "lora":
            trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
            difference = merge(model, _sample(tokens, _MERGE_TOKENS)[0][None, :_MERGE_TOKENS])
            facts = {"parameters": parameter_count(model), "trainable_parameters": trained}
            write_json(out / _ADAPTERS, facts | {"merge_difference": difference})
        if config.streamline != StreamlineConfig():
            loss = sample_loss(model, _sample(tokens, _SURGERY_TOKENS))
            write_json(out / _STREAMLINE, read_json(out / _STREAMLINE) | {"loss_after_training": loss})
    return model


def model_statistics(out: Path) -> dict[str, float]:
    """Return the figures of adapters and of streamlining that a run left, if any."""
    facts: dict[str, Any] = read_json(out / _ADAPTERS) if (out / _ADAPTERS).exists() else {}
    if (out / _STREAMLINE).exists():
        report = read_json(out / _STREAMLINE)
        facts |= {name: report[name] for name in ("parameters_before", "parameters_after")}
        names = ("loss_before", "loss_after_surgery", "loss_after_training", "seconds")
        facts |= {f"streamline_{name}": report[name] for name in names}
    return facts


def _sample(tokens: TokenSet, most: int) -> list[Tensor]:
    """Return the first training sequences (T,) in the order of visits: as many as fit into `most` tokens, or one."""
    sample: list[Tensor] = []
    for number in range(len(tokens)):
        ids = torch.from_numpy(tokens.sequence(number)[0].astype("int64"))
        if sample and sum(map(len, sample)) + len(ids) > most:
            break
        if len(ids) > 1:
            sample.append(ids)
    return sample


def _read_kept(path: Path) -> list[int]:
    if not path.exists():
        raise TrainingError(
            "does not say which tokens are kept",
            where=str(path),
            next_step="run the stage tokenize again with this train.streamline.vocabulary",
        )
    return [int(number) for number in read_json(path)["kept"]]


def _unwrapped(model: PreTrainedModel, config: TrainConfig, seed: int) -> PreTrainedModel:
    """Return a copy that gathers nothing in its forward pass: its blocks were made to, and it is whole here."""
    tensors = model.state_dict()
    plain: PreTrainedModel = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    if config.trainable == "lora":
        adapt(plain, config.lora, seed=seed)
    plain.load_state_dict(tensors)
    return plain
