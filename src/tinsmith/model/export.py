"""Save a model as safetensors that plain transformers opens."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tinsmith.base.errors import AssetError
from tinsmith.base.files import read_json, write_json
from tinsmith.model.load import drop_quantization_record

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path, precision: str) -> None:
    """Write safetensors, config, tokenizer with chat template, and generation_config with the stop tokens.

    Leaves the given model unchanged. Raises AssetError if a weight does not fit the precision.
    """
    dtype = PRECISIONS[precision]
    plain = model if model.dtype == dtype else copy.deepcopy(model).to(dtype)
    _refuse_infinite(plain, out, precision)
    drop_quantization_record(plain)
    plain.save_pretrained(out)
    _remove_origin(out / "config.json")
    tokenizer.save_pretrained(out)
    generation = GenerationConfig(
        eos_token_id=stop_tokens(model, tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    generation.save_pretrained(out)


def _remove_origin(path: Path) -> None:
    # The path that a model was loaded from reveals its owner's disk.
    config = read_json(path)
    config.pop("_model_name_or_path", None)
    config.pop("_name_or_path", None)
    write_json(path, config)


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that end an answer: the tokenizer's end of text first, then the base model's own."""
    known = model.generation_config.eos_token_id if model.generation_config is not None else None
    listed = known if isinstance(known, list) else [known]
    ids = [tokenizer.eos_token_id, *listed]
    return list(dict.fromkeys(token_id for token_id in ids if token_id is not None))


def _refuse_infinite(model: PreTrainedModel, out: Path, precision: str) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise AssetError(
                f"the tensor {name} is not finite in {precision}",
                where=str(out),
                next_step="set package.precision = 'bfloat16', or train with a lower learning rate",
            )
