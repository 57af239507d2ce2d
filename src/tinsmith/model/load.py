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
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

import gguf
from tinsmith.base.errors import AssetError, TrainingError

logging.set_verbosity_error()
logging.disable_progress_bar()


# Architectures that llama.cpp runs, and their families, whose files transformers has no reader for.
_UNREADABLE = {"phi2": "phi"}
# Arrays of a header that are at least so long hold a vocabulary and not a fact about each layer.
_VOCABULARY = 4096
# What transformers does not take from a file, although the answer depends on it: our name, the file's key.
_LOST_FACTS = {
    "gpt2": {"n_positions": "context_length"},
    "qwen3": {"head_dim": "attention.key_length"},
    "gemma3": {"query_pre_attn_scalar": "attention.key_length"},
}


def has_bfloat16(device: torch.device) -> bool:
    """Say whether the processor has instructions for bfloat16: without, it is several times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine() not in ("x86_64", "AMD64"):
        told = Path("/proc/cpuinfo")  # the one place where an ARM processor says it without privileges
        return told.exists() and re.search(r"^Features.*\bbf16\b", told.read_text(), re.MULTILINE) is not None
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def load_model(path: Path, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load a causal language model for evaluation. Refuses pickle; raises AssetError naming the path."""
    try:
        model = _from_gguf(path, dtype) if path.is_file() else _from_directory(path, dtype)
    except AssetError:
        raise
    except Exception as error:
        # transformers raises a dozen types for damaged or unknown files; to a person all mean one thing.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise AssetError(
            f"cannot be opened as a causal language model ({type(error).__name__}: {reason})",
            where=str(path),
            next_step="check that the file is whole and that its architecture is one that transformers reads",
        ) from error
    # A model read from a GGUF remembers its quantisation, which would make it untrainable and unsaveable.
    for leftover in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, leftover):
            delattr(model.config, leftover)
    model.is_quantized = False
    model.hf_quantizer = None
    return model.eval()


def reads_back(model_dir: Path) -> bool:
    """Say whether transformers could read the GGUF of a saved model, which for some families it cannot."""
    return AutoConfig.from_pretrained(model_dir, local_files_only=True).model_type not in _UNREADABLE.values()


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
    """Return the model if its files held every tensor; transformers fills others with random numbers."""
    if missing := sorted(loading["missing_keys"]):
        raise AssetError(
            f"lacks {len(missing)} of the model's tensors, such as {missing[0]}",
            where=str(path),
            next_step="fetch it whole; an encoder or a headless model is no causal language model",
        )
    return model


def _from_gguf(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise AssetError("is no GGUF file", where=str(path), next_step="name a .gguf file or a directory")
    # transformers draws a progress bar of its own here, which no setting of its silences.
    with contextlib.redirect_stderr(io.StringIO()), _header_read_once():
        # Spelt as transformers spells it, so that the reader is shared.
        reader = gguf.GGUFReader(os.path.join(path.parent, path.name))
        architecture = str(reader.fields["general.architecture"].contents())
        if architecture in _UNREADABLE:
            raise AssetError(
                f"is a GGUF file of the {_UNREADABLE[architecture]} family, which transformers cannot read",
                where=str(path),
                next_step="name the directory of safetensors of the same model; "
                "of an own model leave out the quantised file (evaluate.quantised = false)",
            )
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
        for ours, key in _LOST_FACTS.get(architecture, {}).items():
            if field := reader.get_field(f"{architecture}.{key}"):
                setattr(config, ours, field.contents())
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


class _Reader(gguf.GGUFReader):
    """GGUF's own reader for one who wants weights: of an array as long as a vocabulary only its length.

    Each value of a header costs that reader several arrays, and transformers two passes over them: 10 seconds for
    262,144 tokens with their scores and types, of which opening the weights needs the number of tokens.
    """

    def _get(self, *arguments: Any, **options: Any) -> Any:
        # Slicing a memory map is slow a million times.
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
def _header_read_once() -> Iterator[None]:
    """Open faster: transformers reads a GGUF's header twice and maps all names once per tensor."""
    plain = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader = functools.cache(_Reader)  # type: ignore[misc, assignment]
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = plain  # type: ignore[misc]
