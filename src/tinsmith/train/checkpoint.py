"""Checkpoints that are whole or absent: safetensors and JSON, the newest two kept, no pickle."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.foundation.errors import RunError, TrainingError
from tinsmith.foundation.files import list_files, read_json, write_json
from tinsmith.tokens.tokenizer import save_tokenizer
from tinsmith.train.budget import Done
from tinsmith.train.optim import Optimizers

_KEPT = 2  # the newest, and one to fall back on should a crash of the machine have damaged it


def save_checkpoint(directory: Path, model: PreTrainedModel, optimizers: Optimizers, done: Done) -> None:
    """Write `directory/step-N` in one step, then remove all but the newest two. Raises RunError on a full disk."""
    target = directory / f"step-{done.step:09d}"
    partial = directory / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        tensors, rest = optimizers.state()
        save_file(_weights(model), partial / "weights.safetensors")
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()}, partial / "optimizer.safetensors"
        )
        facts = {"step": done.step, "tokens": done.tokens, "seconds": done.seconds, "optimizer": rest}
        write_json(partial / "state.json", facts)
        for name in [*list_files(partial), Path()]:
            _sync(partial / name)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _sync(directory)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(
            f"the checkpoint cannot be written ({error})",
            where=str(directory),
            next_step="free space, then build again",
        ) from error
    for old in _found(directory)[_KEPT:]:
        shutil.rmtree(old)


def load_checkpoint(
    directory: Path, model: PreTrainedModel, optimizers: Optimizers, say: Callable[[str], None]
) -> Done:
    """Restore the newest checkpoint that can be read, announcing damaged ones; Done() where there is none.

    Raises TrainingError where there are checkpoints and all of them are damaged.
    """
    found = _found(directory)
    for path in found:
        try:
            facts, weights, state = _read(path)
            _restore(model, weights)
            optimizers.load(state, facts["optimizer"])
            return Done(facts["step"], facts["tokens"], facts["seconds"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            say(
                f"  checkpoint {path.name} is damaged ({type(error).__name__}: {error}); trying the one before"
            )
    if found:
        raise TrainingError(
            "every checkpoint is damaged", where=str(directory), next_step=f"remove {directory} to train anew"
        )
    return Done()


def _found(directory: Path) -> list[Path]:
    """Return whole checkpoints, newest first."""
    paths = directory.iterdir() if directory.is_dir() else iter(())
    return sorted((path for path in paths if re.fullmatch(r"step-\d{9}", path.name)), reverse=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    facts = read_json(path / "state.json")
    return facts, load_file(path / "weights.safetensors"), load_file(path / "optimizer.safetensors")


def _weights(model: PreTrainedModel) -> dict[str, Tensor]:
    # Tied weights occur once among the parameters, twice in a state dict.
    kept = {name: parameter.detach() for name, parameter in model.named_parameters()}
    saved = set(model.state_dict())
    return kept | {name: buffer for name, buffer in model.named_buffers() if name in saved}


@torch.no_grad()
def _restore(model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    own = _weights(model)
    if own.keys() != weights.keys():
        raise ValueError("it belongs to another model")
    for name, tensor in own.items():
        # Copied into memory that torch aligned: sums may differ in the last bit on tensors at odd addresses.
        tensor.copy_(weights[name])


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_trained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write the trained model in one step: safetensors in float32, config, generation config, tokenizer."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.set_attn_implementation("sdpa")
    for config in (model.config, model.generation_config):
        for role in ("bos", "eos", "pad"):
            setattr(config, f"{role}_token_id", getattr(tokenizer, f"{role}_token_id"))
    for leftover in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, leftover):
            delattr(model.config, leftover)
    # Sampling habits of the base would decide how the trained model is judged.
    model.generation_config = GenerationConfig.from_model_config(model.config)
    try:
        model.save_pretrained(partial, safe_serialization=True)
        save_tokenizer(tokenizer, partial)
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"the model cannot be written ({error})",
            where=str(path),
            next_step="free space, then build again",
        ) from error
