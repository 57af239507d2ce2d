"""Write the metadata of a GGUF file: the architecture and the tokenizer of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, GenerationConfig, PretrainedConfig

from gguf import GGUFWriter
from tinsmith.base.errors import AssetError
from tinsmith.gguf.families import architecture_metadata
from tinsmith.gguf.tokenizer import open_saved_tokenizer
from tinsmith.gguf.vocabulary import vocabulary_of

_TOKENIZER = "tokenizer.json"
# What a file calls the tokens on which generation ends: of a text, of a turn, of a message.
STOP_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


def refuse_unwritable_tokenizer(tokenizer_dir: Path) -> None:
    """Raise AssetError for a saved tokenizer that llama.cpp would not follow token by token."""
    vocabulary_of(open_saved_tokenizer(tokenizer_dir), tokenizer_dir / _TOKENIZER)


def add_architecture(writer: GGUFWriter, config: PretrainedConfig, name: str) -> None:
    """Write the model's name and its architecture: sizes, head counts, positions and norms."""
    writer.add_type("model")
    writer.add_name(name)
    for key, value in architecture_metadata(config).items():
        if isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_uint32(key, value)


def add_tokenizer(writer: GGUFWriter, config: PretrainedConfig, model_dir: Path) -> None:
    """Write tokens, merges or scores, special and stop tokens, and the chat template. Raises AssetError."""
    tokenizer = open_saved_tokenizer(model_dir)
    vocabulary = vocabulary_of(tokenizer, model_dir / _TOKENIZER).cut(config.vocab_size, model_dir)
    vocabulary.write(writer, config.vocab_size)
    _add_special_tokens(writer, tokenizer, model_dir)


def read_stop_tokens(model_dir: Path) -> list[int]:
    """Return the ids on which a saved model stops. Raises AssetError if there is none."""
    ids = None
    for kind in (GenerationConfig, AutoConfig):
        try:
            ids = kind.from_pretrained(model_dir, local_files_only=True).eos_token_id if ids is None else ids
        except OSError:
            continue
    if ids is None:
        raise AssetError(
            "names no stop token (eos_token_id)",
            where=str(model_dir / "generation_config.json"),
            next_step="save the model with its generation_config.json",
        )
    return list(ids) if isinstance(ids, list) else [ids]


def require_room_for(stops: list[int], where: Path) -> None:
    """Raise AssetError for more stop tokens than a GGUF file can name."""
    if len(stops) > len(STOP_KEYS):
        raise AssetError(
            f"it stops on {len(stops)} tokens ({stops}); a GGUF file has room for {len(STOP_KEYS)}",
            where=str(where),
            next_step="keep the end of text and the ends of turns in eos_token_id",
        )


def _add_special_tokens(writer: GGUFWriter, tokenizer: Any, model_dir: Path) -> None:
    stops = read_stop_tokens(model_dir)
    require_room_for(stops, model_dir / "generation_config.json")
    adders = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: stops[0],
        writer.add_eot_token_id: stops[1] if len(stops) > 1 else None,
        writer.add_eom_token_id: stops[2] if len(stops) > 2 else None,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
    }
    for add, token_id in adders.items():
        if token_id is not None:
            add(token_id)
