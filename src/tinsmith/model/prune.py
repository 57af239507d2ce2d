"""Prune a model: fewer tokens, fewer layers, narrower MLPs, each cut where it costs least.

A sample of training tokens decides what to remove. The result is a stock model with its own configuration.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tinsmith.base.errors import RecipeError, TrainingError
from tinsmith.base.files import atomic_path, read_json, write_json
from tinsmith.base.progress import Progress
from tinsmith.model.blocks import Skipper, blocks_of, sample_loss
from tinsmith.model.load import load_model, parameter_count
from tinsmith.recipe import StreamlineConfig

Report = dict[str, Any]

_WHERE = "train.streamline"
_CANDIDATES = 8  # units of least influence whose removal is tried at each cut
_BLOCK = 32  # quantised formats store rows in blocks of so many numbers
_SAME_LOSS = 1e-3  # nats; skipping a layer and removing it differ only by rounding
# The supported MLPs: the layers that write the inner channels, by the name of the layer that reads them.
_WRITERS = {"down_proj": ("gate_proj", "up_proj"), "fc2": ("fc1",), "c_proj": ("c_fc",)}


def prune_cached(
    load: Callable[[], PreTrainedModel],
    config: StreamlineConfig,
    sample: Sequence[Tensor],
    kept: Sequence[int] | None,
    cache: Path,
    progress: Progress,
) -> tuple[PreTrainedModel, Report]:
    """Return the pruned model and its report, as `prune` does; computed once and then read from `cache`."""
    saved = cache / "streamlined"
    if not saved.exists():
        model, report = prune(load(), config, sample, kept, progress)
        with atomic_path(saved) as partial:
            model.save_pretrained(partial)
            write_json(partial / "streamline.json", report)
    return load_model(saved), read_json(saved / "streamline.json")


def prune(
    model: PreTrainedModel,
    config: StreamlineConfig,
    sample: Sequence[Tensor],
    kept: Sequence[int] | None,
    progress: Progress,
) -> tuple[PreTrainedModel, Report]:
    """Return a smaller model, and the loss after each cut on a sample of training sequences (T,), in nats a token.

    `kept` are the old ids of the tokens that stay; the sample is in new ids. Deterministic. Raises RecipeError for
    sizes that do not fit the model.
    """
    start, before = time.perf_counter(), parameter_count(model)
    original = sample if kept is None else [torch.tensor(kept)[ids] for ids in sample]
    report: Report = {
        "sample_sequences": len(sample),
        "sample_tokens": sum(map(len, sample)),
        "parameters_before": before,
        "loss_before": sample_loss(model, original),
    }
    if kept is not None:
        rows = model.config.vocab_size
        model = slice_vocabulary(model, kept)
        loss = sample_loss(model, sample)
        report["vocabulary"] = {"before": rows, "after": len(kept), "loss": loss}
    if config.layers:
        model, report["layers"] = drop_layers(model, config.layers, sample, progress)
    if config.mlp:
        model, report["mlp"] = narrow_mlp(model, config.mlp, sample)
    report["loss_after_surgery"] = sample_loss(model, sample)
    report["parameters_after"] = parameter_count(model)
    report["seconds"] = time.perf_counter() - start
    losses = f"{report['loss_before']:.3f} to {report['loss_after_surgery']:.3f} nats a token"
    progress.say(f"  pruned: {before:,} to {report['parameters_after']:,} parameters, loss {losses}")
    return model, report


def slice_vocabulary(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """Return a model of the `kept` old token ids only, in that order, with the old logits for them.

    Raises TrainingError for an id that the model does not have.
    """
    if max(kept) >= model.get_input_embeddings().weight.shape[0]:
        raise TrainingError(
            f"its tokenizer has the token {max(kept)}, and the model does not",
            where=_WHERE + ".vocabulary",
            next_step="set it to 0, or use a base whose tokenizer matches",
        )
    new_ids = {old: new for new, old in enumerate(kept)}
    config = copy.deepcopy(model.config)
    config.vocab_size = len(kept)
    for role in ("bos", "eos", "pad"):
        name = f"{role}_token_id"
        setattr(config, name, _renumbered(getattr(config, name, None), new_ids))
    tables = {
        id(tensor)
        for table in (model.get_input_embeddings(), model.get_output_embeddings())
        for tensor in table.parameters()
    }
    rows = torch.tensor(kept)
    return _rebuild(config, {name: t[rows] if id(t) in tables else t for name, t in _tensors(model).items()})


def drop_layers(
    model: PreTrainedModel, number: int, sample: Sequence[Tensor], progress: Progress
) -> tuple[PreTrainedModel, Report]:
    """Return a model of `number` layers, and the measurements that chose them. Raises RecipeError.

    Greedy: try out the layers with the least influence on the hidden state (ShortGPT, Men et al. 2024), remove the one
    whose absence costs the least loss (SLEB, Song et al. 2024), and repeat. Where layers of two kinds alternate, as in
    gemma3, whole periods are removed, so that the pattern stays.
    """
    skipper = Skipper(model, sample)
    total, units = len(skipper.blocks), _units(model.config)
    _check_layers(model.config, number, len(units[0]))
    loss = skipper.read()
    influence = [skipper.influence(range(layer, layer + 1)) for layer in range(total)]
    cuts: list[Report] = []
    with progress.task("choosing layers", (total - number) // len(units[0]), "cuts") as advance:
        while total - len(skipper.skipped) > number:
            ranked = sorted(units, key=skipper.influence)[:_CANDIDATES]
            losses = {unit: skipper.loss_without(unit) for unit in ranked}
            best = min(ranked, key=losses.__getitem__)
            tried = [{"layers": list(unit), "loss": losses[unit]} for unit in ranked]
            cuts.append({"layers": list(best), "influence": skipper.influence(best), "tried": tried})
            units.remove(best)
            skipper.skipped |= set(best)
            loss = skipper.read()
            advance(1)
    kept = [layer for layer in range(total) if layer not in skipper.skipped]
    smaller = _with_layers(model, kept)
    if not abs(sample_loss(smaller, sample) - loss) <= _SAME_LOSS:
        raise TrainingError(
            f"the layers of a {model.config.model_type} depend on their number, so removing some changes the others",
            where=_WHERE + ".layers",
            next_step="set it to 0, or use a base of another family such as llama or qwen3",
        )
    facts = {"before": total, "after": number, "kept": kept, "influence": influence, "cuts": cuts}
    return smaller, {**facts, "loss": loss}


def narrow_mlp(
    model: PreTrainedModel, width: int, sample: Sequence[Tensor]
) -> tuple[PreTrainedModel, Report]:
    """Return a model whose MLPs keep the `width` most active channels, and the share of activity that these have.

    Activity is the mean absolute activation over the sample (Minitron, Muralidharan et al. 2024). Weighting it by the
    norm of the weights that read a channel chose worse on SmolLM2. Raises RecipeError.
    """
    reader, field = _mlp_names(model)
    before = _inner_width(getattr(blocks_of(model)[1][0].mlp, reader))
    _check_width(width, before)
    tensors = _tensors(model)
    prefix, blocks = blocks_of(model)
    shares = []
    for block, activity in enumerate(_activity(model, reader, sample)):
        keep = activity.argsort(descending=True, stable=True)[:width].sort().values
        shares.append(float(activity[keep].sum() / activity.sum()))
        for name in (reader, *_WRITERS[reader]):
            layer = f"{prefix}.{block}.mlp.{name}"
            inputs = (name == reader) != isinstance(getattr(blocks[block].mlp, name), Conv1D)
            tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"].index_select(int(inputs), keep)
            if name != reader and f"{layer}.bias" in tensors:
                tensors[f"{layer}.bias"] = tensors[f"{layer}.bias"][keep]
    config = copy.deepcopy(model.config)
    setattr(config, field, width)
    smaller = _rebuild(config, tensors)
    facts = {"before": before, "after": width, "share_kept": shares}
    return smaller, {**facts, "loss": sample_loss(smaller, sample)}


def _activity(model: PreTrainedModel, reader: str, sample: Sequence[Tensor]) -> list[Tensor]:
    """Return for each block the summed absolute activation of its inner channels (W,) over a sample."""
    readers = [getattr(block.mlp, reader) for block in blocks_of(model)[1]]
    sums = [torch.zeros((), dtype=torch.float64) for _ in readers]

    def gather(number: int, activation: Tensor) -> None:
        sums[number] = sums[number] + activation.abs().flatten(0, -2).sum(dim=0, dtype=torch.float64)

    with ExitStack() as stack:
        for number, layer in enumerate(readers):
            hook = layer.register_forward_pre_hook(lambda _, args, number=number: gather(number, args[0]))
            stack.callback(hook.remove)
        sample_loss(model, sample)
    return sums


def _mlp_names(model: PreTrainedModel) -> tuple[str, str]:
    """Return the name of the layer that reads an MLP's inner channels, and the configuration field of their number."""
    blocks = blocks_of(model)[1]
    for reader in _WRITERS:
        if all(isinstance(getattr(getattr(block, "mlp", None), reader, None), nn.Module) for block in blocks):
            return reader, "n_inner" if hasattr(model.config, "n_inner") else "intermediate_size"
    raise RecipeError(
        f"the MLPs of a {model.config.model_type} cannot be narrowed: its configuration has no field for their width",
        where=_WHERE + ".mlp",
        next_step="set it to 0, or use a base of another family such as llama, qwen3, gemma3, phi or gpt2",
    )


def _inner_width(reader: nn.Module) -> int:
    return int(reader.weight.shape[0 if isinstance(reader, Conv1D) else 1])


def _check_width(width: int, before: int) -> None:
    if width >= before:
        raise RecipeError(
            f"the MLPs of the base are {before} wide, so {width} would not shrink them",
            where=_WHERE + ".mlp",
            next_step=f"set it below {before}, or to 0",
        )
    if width % _BLOCK:
        raise RecipeError(
            f"8-bit and 4-bit formats store blocks of {_BLOCK} channels, and {width} is not a multiple",
            where=_WHERE + ".mlp",
            next_step=f"set it to {max(_BLOCK, round(width / _BLOCK) * _BLOCK)}; a multiple of 256 is best",
        )


def _units(config: PreTrainedConfig) -> list[range]:
    """Return what can be removed as one: single layers, or whole periods where layers of several kinds alternate."""
    total = config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or [""] * total
    period = next(n for n in range(1, total + 1) if all(kinds[i] == kinds[i - n] for i in range(n, total)))
    return [range(start, start + period) for start in range(0, total - period + 1, period)]


def _check_layers(config: PreTrainedConfig, number: int, period: int) -> None:
    total = config.num_hidden_layers
    if number >= total:
        raise RecipeError(
            f"the base has {total} layers, so keeping {number} removes none",
            where=_WHERE + ".layers",
            next_step=f"set it below {total}, or to 0",
        )
    possible = list(range(total - period, 0, -period))
    if number not in possible:
        raise RecipeError(
            f"the {total} layers of the base repeat with a period of {period}, and only whole periods can be removed",
            where=_WHERE + ".layers",
            next_step=f"set it to one of {possible}" if possible else "set it to 0",
        )


def _with_layers(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """Return a model of the `kept` layers, renumbered."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[layer] for layer in kept]
    prefix = blocks_of(model)[0] + "."
    new_numbers = {str(old): str(new) for new, old in enumerate(kept)}
    tensors = {}
    for name, tensor in _tensors(model).items():
        if name.startswith(prefix):
            old, _, rest = name.removeprefix(prefix).partition(".")
            if old not in new_numbers:
                continue
            name = f"{prefix}{new_numbers[old]}.{rest}"
        tensors[name] = tensor
    return _rebuild(config, tensors)


def _renumbered(ids: int | list[int] | None, new_ids: dict[int, int]) -> int | list[int] | None:
    if isinstance(ids, list):
        return [new_ids[old] for old in ids if old in new_ids] or None
    return None if ids is None else new_ids.get(ids)


def _tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    return model.state_dict(keep_vars=True)


@torch.no_grad()
def _rebuild(config: PreTrainedConfig, tensors: dict[str, Tensor]) -> PreTrainedModel:
    """Make a model of a configuration and load weights, all of which must match."""
    with torch.random.fork_rng(devices=[]):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(tensors)
    return model.eval()
