"""Open stock Hugging Face models from a directory of safetensors or from a GGUF file."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import platform
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import numpy as np
import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

import gguf
from tinsmith.base.errors import AssetError, TrainingError
from tinsmith.gguf.configuration import checkpoint_tensors, configuration, is_readable
from tinsmith.gguf.header import read_metadata
from tinsmith.model.attention import caps_scores, use_stock_attention

logging.set_verbosity_error()
logging.disable_progress_bar()


# An array in a header that is at least this long holds a vocabulary and not one value per layer.
_VOCABULARY = 4096
# Fields that transformers does not read from a GGUF file although logits depend on them: config field, GGUF key.
_LOST_FIELDS = {"gpt2": {"n_positions": "context_length"}}


def choose_device(asked: str, local_rank: int = 0) -> torch.device:
    """Return where a process computes, by the recipe's `train.device`: auto is a GPU where there is one.

    Raises TrainingError where the machine has no GPU for the process.
    """
    count = torch.cuda.device_count()
    if asked == "cpu" or (asked == "auto" and not count):
        return torch.device("cpu")
    if local_rank >= count:
        raise TrainingError(
            f"process {local_rank} on this machine needs a CUDA device of its own, and there are {count}",
            where="train.device",
            next_step="start at most as many processes as the machine has GPUs, or set train.device to cpu",
        )
    return torch.device("cuda", local_rank)


def has_bfloat16(device: torch.device) -> bool:
    """Say whether the device has bfloat16 instructions; without them bfloat16 is several times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine() not in ("x86_64", "AMD64"):
        info = Path("/proc/cpuinfo")  # the only source on ARM that needs no privileges
        return info.exists() and re.search(r"^Features.*\bbf16\b", info.read_text(), re.MULTILINE) is not None
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def load_model(path: Path, *, dtype: torch.dtype = torch.float32, fold: bool = True) -> PreTrainedModel:
    """Load a causal language model for evaluation. Refuses pickle; raises AssetError naming the path.

    With `fold`, a scale of logits becomes part of the last norm, so that logits are a plain product.
    """
    try:
        model = _from_gguf(path, dtype) if path.is_file() else _from_directory(path, dtype)
    except AssetError:
        raise
    except Exception as error:
        # transformers raises a dozen types for damaged or unknown files, which all mean the same to a user.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise AssetError(
            f"cannot be opened as a causal language model ({type(error).__name__}: {reason})",
            where=str(path),
            next_step="check that the file is complete and that transformers supports its architecture",
        ) from error
    drop_quantization_record(model)
    model.is_quantized = False
    model.hf_quantizer = None
    if caps_scores(model.config):
        use_stock_attention(model)
    if fold:
        _fold_logit_scale(model)
    return model.eval()


@torch.no_grad()
def _fold_logit_scale(model: PreTrainedModel) -> None:
    """Divide the last norm of a granite by its scale of logits, so that logits are a plain product, as in others."""
    scale = float(getattr(model.config, "logits_scaling", None) or 1.0)
    if model.config.model_type == "granite" and scale != 1.0:
        model.base_model.norm.weight.div_(scale)
        model.config.logits_scaling = 1.0


def drop_quantization_record(model: PreTrainedModel) -> None:
    """Remove what a model's configuration keeps of a GGUF file's quantisation, which forbids training and saving."""
    for leftover in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, leftover):
            delattr(model.config, leftover)


def parameter_count(model: PreTrainedModel) -> int:
    """Count distinct parameters; tied weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def check_context(model: PreTrainedModel, longest: int, *, where: str) -> None:
    """Raise TrainingError where a sequence of `longest` tokens exceeds the model's context."""
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and longest > limit:
        raise TrainingError(
            f"the longest sequence has {longest} tokens, and this {model.config.model_type} reads {limit} at most",
            where=where,
            next_step=f"lower tokenize.context to {limit} or less",
        )


def _from_directory(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    if not any(path.glob("*.safetensors")):
        raise AssetError(
            "holds no *.safetensors", where=str(path), next_step="convert the checkpoint to safetensors"
        )
    return _whole(
        path,
        *AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        ),
    )


def _whole(path: Path, model: PreTrainedModel, loading: dict[str, Any]) -> PreTrainedModel:
    """Return the model if its files held every tensor; transformers fills missing ones with random numbers."""
    if missing := sorted(loading["missing_keys"]):
        raise AssetError(
            f"lacks {len(missing)} of the model's tensors, such as {missing[0]}",
            where=str(path),
            next_step="download it again; an encoder or a model without an output layer is not a causal language model",
        )
    return model


def _from_gguf(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise AssetError(
                "is not a GGUF file", where=str(path), next_step="name a .gguf file or a directory"
            )
    # transformers shows a progress bar here that no setting turns off.
    with contextlib.redirect_stderr(io.StringIO()), _cached_header():
        # The same path string as transformers uses, so that the cached reader is shared.
        reader = gguf.GGUFReader(os.path.join(path.parent, path.name))
        architecture = str(reader.fields["general.architecture"].contents())
        if is_readable(architecture):
            return _from_own_reader(path, reader, dtype)
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
        for field, key in _LOST_FIELDS.get(architecture, {}).items():
            if value := reader.get_field(f"{architecture}.{key}"):
                setattr(config, field, value.contents())
        return _whole(
            path,
            *AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                config=config,
                dtype=dtype,
                local_files_only=True,
                output_loading_info=True,
            ),
        )


def _from_own_reader(path: Path, reader: gguf.GGUFReader, dtype: torch.dtype) -> PreTrainedModel:
    """Open a GGUF file of a family of ours."""
    metadata = read_metadata(path)
    config = configuration(metadata, reader.tensors, path)
    with torch.device("meta"):
        shapes = {
            key: weight.shape for key, weight in AutoModelForCausalLM.from_config(config).state_dict().items()
        }
    tensors = checkpoint_tensors(metadata["general.architecture"], config, shapes, reader.tensors)
    state = {key: torch.from_numpy(array).to(dtype) for key, array in tensors}
    kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    loaded = kind.from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, output_loading_info=True
    )
    return _whole(path, *loaded)


class _Reader(gguf.GGUFReader):
    """gguf's reader, which skips arrays as long as a vocabulary and keeps only their length.

    gguf makes several arrays for each value, and transformers reads them twice: 10 seconds for 262,144 tokens with
    scores and types, of which opening the weights needs only the number.
    """

    def _get(self, *arguments: Any, **options: Any) -> Any:
        # Slicing a memory map a million times is slow.
        if isinstance(self.data, np.memmap):
            self.data = self.data.view(np.ndarray)  # type: ignore[assignment]
        return super()._get(*arguments, **options)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[Any]]:
        if raw_type != gguf.GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        inner, length = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
        count, kind = int(length[0]), gguf.GGUFValueType(inner[0])
        if count < _VOCABULARY or kind == gguf.GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        at = orig_offs + 12
        if kind == gguf.GGUFValueType.STRING:
            order = ">" if (self.byte_order == "S") == (sys.byteorder == "little") else "<"
            read, data = struct.Struct(f"{order}Q").unpack_from, memoryview(self.data)  # type: ignore[arg-type]
            for _ in range(count):
                at += 8 + read(data, at)[0]
        else:
            at += count * np.dtype(self.gguf_scalar_to_np[kind]).itemsize
        nothing = np.empty(0, dtype=np.uint8)
        named = [2] * count if kind == gguf.GGUFValueType.STRING else []
        return at - orig_offs, [inner, length, nothing], named, [gguf.GGUFValueType.ARRAY, kind]


@contextlib.contextmanager
def _cached_header() -> Iterator[None]:
    """Cache what transformers repeats: it reads a GGUF header twice, and maps all names once per tensor."""
    plain = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader = functools.cache(_Reader)  # type: ignore[misc, assignment]
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = plain  # type: ignore[misc]
