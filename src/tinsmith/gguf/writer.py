"""Write a saved model as a GGUF file for llama.cpp."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from gguf import GGMLQuantizationType, GGUFWriter, TensorNameMap, get_tensor_name_map
from tinsmith.base.errors import AssetError
from tinsmith.base.files import atomic_path
from tinsmith.gguf.base_levels import keeps_training
from tinsmith.gguf.families import open_configuration, refuse_unwritable
from tinsmith.gguf.four_bit_levels import as_q4_1
from tinsmith.gguf.metadata import add_architecture, add_tokenizer
from tinsmith.gguf.types import FILE_TYPES, KEEPS_FOUR_BITS, choose_types, quantise


@dataclass
class GgufReport:
    """A written GGUF file: its bytes, its tensors by type, and the tensors with a substitute type and why."""

    format: str
    bytes: int = 0
    types: dict[str, int] = field(default_factory=dict)
    substituted: list[dict[str, str]] = field(default_factory=list)


def write_gguf(model_dir: Path, out_file: Path, format: str, *, name: str = "model") -> GgufReport:
    """Write a saved model as GGUF in a format of `FILE_TYPES`. Raises AssetError for what cannot be written.

    The file appears whole or not at all. Tensor types follow llama.cpp's own mixture for the format. A matrix that
    still holds what a 4-bit base held is written as it was; where those are the most, the trained ones have six bits.
    """
    tensors = CheckpointTensors(model_dir)
    config = tensors.config
    types, substituted = choose_types(tensors.shapes, config.num_hidden_layers, format, model_dir)
    for tensor, array in tensors:
        moved = keeps_training(array, types[tensor])
        if moved is not types[tensor]:
            row = {"format": format, "tensor": tensor, "wanted": types[tensor].name, "used": moved.name}
            substituted.append({**row, "reason": "its weights lie near the levels of the base's file"})
            types[tensor] = moved
    if format in KEEPS_FOUR_BITS:
        kept = {
            name
            for name, array in tensors
            if types[name] is not GGMLQuantizationType.F32 and as_q4_1(array) is not None
        }
        types |= dict.fromkeys(kept, GGMLQuantizationType.Q4_1)
        substituted = [row for row in substituted if row["tensor"] not in kept]
        trained = {name: shape for name, shape in tensors.shapes.items() if name not in kept}
        if _size(trained) < _size(tensors.shapes) / 2:
            finer, rows = choose_types(trained, config.num_hidden_layers, "q6_k", model_dir)
            types |= finer
            substituted = [{**row, "format": format} for row in rows]
    with atomic_path(out_file) as partial, closing(GGUFWriter(partial, tensors.family.name)) as writer:
        add_architecture(writer, config, name)
        add_tokenizer(writer, config, model_dir)
        writer.add_file_type(FILE_TYPES[format])
        writer.add_quantization_version(2)
        _write_tensors(writer, tensors, types)
    counts = Counter(type.name for type in types.values())
    return GgufReport(format, out_file.stat().st_size, dict(sorted(counts.items())), substituted)


class CheckpointTensors:
    """The tensors of a saved model under their GGUF names, with rows in llama.cpp's order.

    Raises AssetError for a model that llama.cpp cannot compute or a tensor that it has no name for.
    """

    def __init__(self, model_dir: Path) -> None:
        self.config = open_configuration(model_dir)
        self.family = refuse_unwritable(self.config, model_dir)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.checkpoint_shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}  # by name, as safetensors calls them: F32, F16, BF16
        self._sources: dict[str, tuple[Path, str]] = {}
        names = get_tensor_name_map(self.family.arch, self.config.num_hidden_layers)
        for file in sorted(model_dir.glob("*.safetensors")):
            with safe_open(file, framework="pt") as weights:
                for key in weights.keys():  # noqa: SIM118 - no mapping
                    self.checkpoint_shapes[key] = tuple(weights.get_slice(key).get_shape())
                    if key == "lm_head.weight" and self.config.tie_word_embeddings:
                        continue
                    name = _gguf_name(names, key)
                    if name is None:
                        raise AssetError(
                            f"the tensor {key} has no name in GGUF",
                            where=str(model_dir),
                            next_step="save a plain model of its family, without added layers",
                        )
                    self._sources[name] = (file, key)
                    self.dtypes[name] = weights.get_slice(key).get_dtype()
                    self.shapes[name] = self.family.shape(name, self.checkpoint_shapes[key])
        self._extra = self.family.extra(self.config)
        self.shapes |= {name: array.shape for name, array in self._extra.items()}
        self.dtypes |= dict.fromkeys(self._extra, "F32")

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, float32 array), one tensor in memory at a time."""
        for name, (file, key) in self._sources.items():
            with safe_open(file, framework="pt") as weights:
                array = weights.get_tensor(key).to(torch.float32).numpy()
            yield name, self.family.arrange(name, array, self.config)
        yield from self._extra.items()


def _write_tensors(
    writer: GGUFWriter, tensors: CheckpointTensors, types: dict[str, GGMLQuantizationType]
) -> None:
    # Describe all tensors first and then write one after another, so that memory holds one tensor at a time.
    for name, type in types.items():
        *outer, row = tensors.shapes[name]
        row_bytes = quantise(np.zeros((1, row), np.float32), type).nbytes
        size = row_bytes * int(np.prod(outer, dtype=int))
        writer.add_tensor_info(name, tensors.shapes[name], np.dtype(np.float32), size, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, array in tensors:
        packed = as_q4_1(array) if types[name] is GGMLQuantizationType.Q4_1 else quantise(array, types[name])
        assert packed is not None
        writer.write_tensor_data(packed)


def _size(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _gguf_name(names: TensorNameMap, key: str) -> str | None:
    # gguf lists bloom's tensors without the prefix that a causal model adds.
    suffixes = (".weight", ".bias")
    return names.get_name(key, suffixes) or names.get_name(key.removeprefix("transformer."), suffixes)
