"""Open what `tinsmith parity` compares: a transformers directory, an adapter on its base, a GGUF file."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from jinja2 import TemplateError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from gguf import dequantize
from tinsmith.base.errors import AssetError
from tinsmith.base.files import read_json
from tinsmith.base.progress import Advance
from tinsmith.gguf.families import (
    architecture_metadata,
    default_settings,
    open_configuration,
    refuse_unwritable,
)
from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.metadata import STOP_KEYS, read_stop_tokens
from tinsmith.gguf.tokenizer import build_tokenizer
from tinsmith.gguf.vocabulary import Vocabulary, read_vocabulary, vocabulary_of
from tinsmith.gguf.writer import CheckpointTensors
from tinsmith.model.export import save_model
from tinsmith.model.load import load_model
from tinsmith.model.output_layer import OutputLayer
from tinsmith.parity.conversations import Message
from tinsmith.parity.prompts import Prompt
from tinsmith.parity.sides import GgufSide, ServerSide, TorchSide, sampled_rows
from tinsmith.serve.runtime import LlamaServer
from tinsmith.tokens.tokenizer import load_tokenizer

Rows = NDArray[np.float32]
_CONTEXT = 2048
_ADAPTER = "adapter_config.json"


class OpenedModel:
    """A model with files: what they say, and what it computes.

    `metadata` are those of its architecture by GGUF key, `types` the storage type of each tensor by GGUF name.
    """

    called: str  # what findings call it
    metadata: dict[str, Any]
    vocabulary: Vocabulary
    stops: list[int]
    tokenizer: PreTrainedTokenizerFast
    types: dict[str, str]

    def rows(self, tensor: str) -> Rows:
        """Return evenly spread rows of a tensor in float32."""
        raise NotImplementedError

    def token_ids(self, text: str, *, markup: bool) -> list[int]:
        """Return the ids of a text; without `markup`, special tokens that are written out are plain text."""
        raise NotImplementedError

    def render(self, messages: Sequence[Message]) -> str | None:
        """Return a conversation as its chat template writes it, or None where the template refuses it."""
        return render(self.tokenizer, messages)

    def read_by_llama_cpp(self, text: str, *, markup: bool) -> list[int]:
        """Return the ids of a text as llama.cpp reads it."""
        return self.token_ids(text, markup=markup)

    def stops_on(self, token: int) -> bool:
        """Say whether generation ends on a token."""
        return token in self.stops

    def decode(self, token: int) -> str:
        """Return the text of a token as it continues another."""
        first = self.token_ids("a", markup=True)[-1:]
        alone, both = (str(self.tokenizer.decode(ids)) for ids in (first, [*first, token]))
        return both.removeprefix(alone)

    def hidden(self, prompts: Sequence[Prompt], advance: Advance) -> tuple[torch.Tensor, OutputLayer]:
        """Return the last hidden states of all positions (N, H), and the output layer."""
        raise NotImplementedError


class DirectoryModel(OpenedModel):
    """A model in a transformers directory."""

    def __init__(self, path: Path, called: str) -> None:
        self.called, self.path = called, path
        config = open_configuration(path)
        refuse_unwritable(config, path)
        self.metadata = architecture_metadata(config)
        self.tokenizer = load_tokenizer(path)
        self.vocabulary = vocabulary_of(self.tokenizer, path / "tokenizer.json").cut(config.vocab_size, path)
        self.stops = read_stop_tokens(path)

    @functools.cached_property
    def _rows(self) -> dict[str, Rows]:
        return {name: sampled_rows(array).copy() for name, array in CheckpointTensors(self.path)}

    @functools.cached_property
    def types(self) -> dict[str, str]:  # type: ignore[override]
        return CheckpointTensors(self.path).dtypes

    def rows(self, tensor: str) -> Rows:
        return self._rows[tensor]

    def token_ids(self, text: str, *, markup: bool) -> list[int]:
        return list(self.tokenizer(text, split_special_tokens=not markup)["input_ids"])

    @functools.cached_property
    def _as_llama_cpp(self) -> PreTrainedTokenizerFast:
        return build_tokenizer(self.vocabulary)

    def read_by_llama_cpp(self, text: str, *, markup: bool) -> list[int]:
        return list(self._as_llama_cpp(text, split_special_tokens=not markup)["input_ids"])

    def hidden(self, prompts: Sequence[Prompt], advance: Advance) -> tuple[torch.Tensor, OutputLayer]:
        side = TorchSide(load_model(self.path), prompts, advance)
        return side.hidden, side.output


class GgufModel(OpenedModel):
    """A GGUF file, as llama.cpp's own server runs it."""

    def __init__(self, path: Path, called: str, client: httpx.Client) -> None:
        self.called, self.path = called, path
        metadata = read_metadata(path)
        prefix = f"{metadata['general.architecture']}."
        defaults = default_settings(metadata["general.architecture"])
        self.metadata = {f"{prefix}{key}": value for key, value in defaults.items()}
        self.metadata |= {key: value for key, value in metadata.items() if key.startswith(prefix)}
        self._logit_scale = float(self.metadata.get(f"{prefix}logit_scale", 1.0))
        self._softcap = float(self.metadata.get(f"{prefix}final_logit_softcapping", 0.0))
        self.vocabulary = read_vocabulary(path)
        stops = [metadata.get(f"tokenizer.ggml.{key}") for key in STOP_KEYS]
        self.stops = list(dict.fromkeys(stop for stop in stops if stop is not None))
        self.file = GgufSide(path)
        self.types = {name: tensor.tensor_type.name for name, tensor in self.file.tensors.items()}
        self.tokenizer = build_tokenizer(self.vocabulary)
        self.server = ServerSide(client, len(self.vocabulary.tokens))

    def rows(self, tensor: str) -> Rows:
        stored = self.file.tensors[tensor]
        return np.asarray(dequantize(sampled_rows(stored.data), stored.tensor_type), dtype=np.float32)

    def token_ids(self, text: str, *, markup: bool) -> list[int]:
        return self.server.token_ids(text, markup=markup)

    def stops_on(self, token: int) -> bool:
        # llama.cpp also ends on tokens that it knows by their text, whatever the file names.
        return token in self.stops or self.server.stops_on(token, self.token_ids("a", markup=True))

    def hidden(self, prompts: Sequence[Prompt], advance: Advance) -> tuple[torch.Tensor, OutputLayer]:
        return self.server.hidden(prompts, advance), self.file.output(self._logit_scale, self._softcap)


def render(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message], *, ask: bool = True
) -> str | None:
    """Return a conversation as the tokenizer's chat template writes it; None without one, or where it refuses."""
    if not tokenizer.chat_template:
        return None
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask))
    except TemplateError:
        return None


class OpenModel(AbstractContextManager[OpenedModel]):
    """Open a directory, an adapter or a GGUF file for a `with` block. Raises AssetError.

    An adapter is folded into its base in a temporary directory; `adapter_base` is then the directory of the base.
    """

    def __init__(self, path: Path, called: str) -> None:
        self._path, self._called, self._stack = path, called, ExitStack()
        self.adapter_base: Path | None = None

    def __enter__(self) -> OpenedModel:
        with self._stack as stack:
            opened = self._open(stack)
            self._stack = stack.pop_all()
        return opened

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _open(self, stack: ExitStack) -> OpenedModel:
        if not self._path.exists():
            raise AssetError(
                "no such model",
                where=str(self._path),
                next_step="name a directory or a GGUF file that exists",
            )
        if self._path.is_file():
            # Within its own context, since beyond it some models take other positions.
            context = min(_CONTEXT, context_of(self._path))
            server = stack.enter_context(
                LlamaServer(self._path, slots=4, context=context, hidden_states=context // 4)
            )
            return GgufModel(self._path, self._called, stack.enter_context(server.client()))
        if not (self._path / _ADAPTER).is_file():
            return DirectoryModel(self._path, self._called)
        self.adapter_base = adapter_base(self._path)
        folded = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinsmith-parity-")))
        _fold(self.adapter_base, self._path, folded)
        return DirectoryModel(folded, self._called)


def context_of(gguf: Path) -> int:
    """Return the tokens that a GGUF file's model reads, up to the context that its positions were trained for."""
    metadata = read_metadata(gguf)
    prefix = metadata["general.architecture"]
    keys = [f"{prefix}.context_length"]
    if f"{prefix}.rope.scaling.type" not in metadata:  # two sets of factors, not a stretch of all positions
        keys.append(f"{prefix}.rope.scaling.original_context_length")
    return min(int(metadata.get(key) or _CONTEXT) for key in keys)


def adapter_base(path: Path) -> Path:
    """Return the directory of an adapter's base. Raises AssetError if it is not on this machine."""
    named = str(read_json(path / _ADAPTER).get("base_model_name_or_path"))
    for base in (Path(named).expanduser(), path / named):
        if base.is_dir():
            return base
    raise AssetError(
        f"is an adapter of {named}, and this machine has no such directory",
        where=str(path / _ADAPTER),
        next_step="write the directory of the base into base_model_name_or_path",
    )


def _fold(base: Path, adapter: Path, out: Path) -> None:
    from peft import PeftModel

    tokenizer = load_tokenizer(adapter if (adapter / "tokenizer.json").is_file() else base)
    model = load_model(base, fold=False)
    try:
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise AssetError(
            f"cannot be folded into its base ({str(error).splitlines()[0]})",
            where=str(adapter),
            next_step="check that it was trained on this base",
        ) from error
    save_model(merged, tokenizer, out, "float32")
