"""Hand a trained model over: safetensors that plain transformers opens, and GGUF files for llama.cpp."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from gguf import GGMLQuantizationType, GGUFWriter, TensorNameMap, get_tensor_name_map
from tinsmith.base.errors import AssetError
from tinsmith.base.files import read_json, write_json
from tinsmith.gguf.families import family_of
from tinsmith.gguf.metadata import add_architecture, add_tokenizer, refuse_unwritable
from tinsmith.gguf.types import FILE_TYPES, choose_types, quantise

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass
class GgufReport:
    """What a GGUF file became: bytes, tensors by type, and which took a substitute type and why."""

    format: str
    bytes: int = 0
    types: dict[str, int] = field(default_factory=dict)
    substituted: list[dict[str, str]] = field(default_factory=list)


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path, precision: str) -> None:
    """Write safetensors, config, tokenizer with chat template, and generation_config with the stop tokens.

    Raises AssetError if a weight does not fit the precision. The given model stays as it is.
    """
    dtype = PRECISIONS[precision]
    plain = model if model.dtype == dtype else copy.deepcopy(model).to(dtype)
    _refuse_infinite(plain, out, precision)
    for leftover in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(plain.config, leftover):
            delattr(plain.config, leftover)
    plain.save_pretrained(out)
    _forget_origin(out / "config.json")
    tokenizer.save_pretrained(out)
    generation = GenerationConfig(
        eos_token_id=stop_tokens(model, tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    generation.save_pretrained(out)


def _forget_origin(path: Path) -> None:
    # The place that a model was loaded from tells of its owner's disk and nothing of the model.
    facts = read_json(path)
    facts.pop("_model_name_or_path", None)
    facts.pop("_name_or_path", None)
    write_json(path, facts)


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that end an answer: the tokenizer's end token first, then what the base model knew."""
    known = model.generation_config.eos_token_id if model.generation_config is not None else None
    listed = known if isinstance(known, list) else [known]
    ids = [tokenizer.eos_token_id, *listed]
    return list(dict.fromkeys(number for number in ids if number is not None))


def write_gguf(model_dir: Path, out_file: Path, format: str, *, name: str = "model") -> GgufReport:
    """Write a saved model as GGUF in a format of `FILE_TYPES`. Raises AssetError for what cannot be written.

    The file appears whole or not at all. Types follow llama.cpp's own mixture for the format.
    """
    tensors = GgufTensors(model_dir)
    config = tensors.config
    types, substituted = choose_types(tensors.shapes, config.num_hidden_layers, format, model_dir)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    partial = out_file.with_name(f".{out_file.name}.{os.getpid()}.partial")
    writer = GGUFWriter(partial, tensors.family.name)
    try:
        add_architecture(writer, config, name)
        add_tokenizer(writer, config, model_dir)
        writer.add_file_type(FILE_TYPES[format])
        writer.add_quantization_version(2)
        _write_tensors(writer, tensors, types)
        writer.close()
        os.replace(partial, out_file)
    except BaseException:
        writer.close()
        partial.unlink(missing_ok=True)
        raise
    counts = Counter(kind.name for kind in types.values())
    return GgufReport(format, out_file.stat().st_size, dict(sorted(counts.items())), substituted)


def _write_tensors(writer: GGUFWriter, tensors: GgufTensors, types: dict[str, GGMLQuantizationType]) -> None:
    # Headers first and then one tensor after another, so that memory holds one tensor and not the model.
    for name, kind in types.items():
        shape = tensors.shapes[name]
        size = quantise(np.zeros((1, shape[-1]), np.float32), kind).nbytes * int(
            np.prod(shape[:-1], dtype=int)
        )
        writer.add_tensor_info(name, shape, np.dtype(np.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, array in tensors:
        writer.write_tensor_data(quantise(array, types[name]))


class GgufTensors:
    """The tensors of a checkpoint under their GGUF names, in llama.cpp's order of rows."""

    def __init__(self, model_dir: Path) -> None:
        self.config: PretrainedConfig = AutoConfig.from_pretrained(model_dir, local_files_only=True)
        refuse_unwritable(self.config, model_dir)
        family = family_of(self.config)
        assert family is not None
        self.family = family
        self.places: dict[str, tuple[Path, str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        names = get_tensor_name_map(family.arch, self.config.num_hidden_layers)
        for file in sorted(model_dir.glob("*.safetensors")):
            with safe_open(file, framework="pt") as weights:
                for key in weights.keys():  # noqa: SIM118 - no mapping
                    if key == "lm_head.weight" and self.config.tie_word_embeddings:
                        continue
                    name = _gguf_name(names, key)
                    if name is None:
                        raise AssetError(
                            f"the tensor {key} has no name in GGUF",
                            where=str(model_dir),
                            next_step="save a plain model of its family",
                        )
                    self.places[name] = (file, key)
                    self.shapes[name] = family.shape(name, tuple(weights.get_slice(key).get_shape()))

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, float32 array), one tensor in memory at a time."""
        for name, (file, key) in self.places.items():
            with safe_open(file, framework="pt") as weights:
                array = weights.get_tensor(key).to(torch.float32).numpy()
            yield name, self.family.arrange(name, array, self.config)


def _gguf_name(names: TensorNameMap, key: str) -> str | None:
    # The names of bloom's tensors are known without the wrapper that a causal model puts around them.
    suffixes = (".weight", ".bias")
    return names.get_name(key, suffixes) or names.get_name(key.removeprefix("transformer."), suffixes)


def _refuse_infinite(model: PreTrainedModel, out: Path, precision: str) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise AssetError(
                f"the tensor {name} is not finite in {precision}",
                where=str(out),
                next_step="choose package.precision=bfloat16, or train with a lower learning rate",
            )
