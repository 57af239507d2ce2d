"""Make the starting model into what is trained (pruned, or with adapters), and the result into a plain model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import read_json, write_json
from tinsmith.model import lora
from tinsmith.model.attention import use_stock_attention
from tinsmith.model.blocks import sample_loss
from tinsmith.model.load import parameter_count
from tinsmith.model.prune import prune_cached
from tinsmith.recipe import StreamlineConfig, TrainConfig
from tinsmith.tokens.shards import TokenSet
from tinsmith.train.distributed import Ranks
from tinsmith.train.objectives import Setup

_PRUNING_TOKENS = 1024  # of training sequences, on which pruning decides what to remove
_MERGE_TOKENS = 128
_ADAPTERS, _STREAMLINE = "adapters.json", "streamline.json"


def prepare_model(
    load: Callable[[], PreTrainedModel],
    setup: Setup,
    tokens: TokenSet,
    *,
    seed: int,
    out: Path,
    ranks: Ranks,
) -> PreTrainedModel:
    """Load the starting model, prune it and add adapters as the recipe says.

    Pruning is done once and cached; `out/streamline.json` describes it. Raises RecipeError for sizes or adapters that
    do not fit the model.
    """
    config = setup.config
    if config.streamline == StreamlineConfig():
        model = load()
    else:
        kept = _read_kept(setup.tokenize / "kept.json") if config.streamline.vocabulary else None
        # The other processes find the main one's work in the cache.
        with ranks.main_first():
            sample = _sample(tokens, _PRUNING_TOKENS)
            model, report = prune_cached(load, config.streamline, sample, kept, out / "cache", setup.progress)
        if ranks.is_main:
            write_json(out / _STREAMLINE, report)
    if config.trainable == "lora":
        lora.add(model, config.lora, seed=seed)
    return model


def finalize_model(
    model: PreTrainedModel, config: TrainConfig, tokens: TokenSet, *, seed: int, out: Path, ranks: Ranks
) -> PreTrainedModel:
    """Return the trained model as a plain one whose weights are complete on this process.

    `out/adapters.json` describes adapters and how exactly they were merged; the loss after training goes into
    `out/streamline.json`. Raises TrainingError where merging changes the logits.
    """
    if ranks.size > 1:
        model = _unwrapped(model, config, seed)
    use_stock_attention(model)
    model.eval()
    with torch.compiler.set_stance("force_eager"):
        if config.trainable == "lora":
            trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
            difference = lora.merge(model, _sample(tokens, _MERGE_TOKENS)[0][None, :_MERGE_TOKENS])
            facts = {"parameters": parameter_count(model), "trainable_parameters": trained}
            write_json(out / _ADAPTERS, facts | {"merge_difference": difference})
        if config.streamline != StreamlineConfig():
            loss = sample_loss(model, _sample(tokens, _PRUNING_TOKENS))
            write_json(out / _STREAMLINE, read_json(out / _STREAMLINE) | {"loss_after_training": loss})
    return model


def model_statistics(out: Path) -> dict[str, float]:
    """Return the statistics of adapters and pruning that a run left, if any."""
    facts: dict[str, Any] = read_json(out / _ADAPTERS) if (out / _ADAPTERS).exists() else {}
    if (out / _STREAMLINE).exists():
        report = read_json(out / _STREAMLINE)
        facts |= {name: report[name] for name in ("parameters_before", "parameters_after")}
        names = ("loss_before", "loss_after_surgery", "loss_after_training", "seconds")
        facts |= {f"streamline_{name}": report[name] for name in names}
    return facts


def _sample(tokens: TokenSet, most: int) -> list[Tensor]:
    """Return the first training sequences (T,) that fit into `most` tokens together, at least one."""
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
            "no list of the tokens that are kept",
            where=str(path),
            next_step="run the stage tokenize again with this train.streamline.vocabulary",
        )
    return [int(token) for token in read_json(path)["kept"]]


def _unwrapped(model: PreTrainedModel, config: TrainConfig, seed: int) -> PreTrainedModel:
    """Return a copy without FSDP's hooks, whose forward pass would gather weights that are already complete here."""
    tensors = model.state_dict()
    plain: PreTrainedModel = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    if config.trainable == "lora":
        lora.add(plain, config.lora, seed=seed)
    plain.load_state_dict(tensors)
    return plain
