"""Write the metadata of a GGUF file: the architecture and the tokenizer of a saved model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GenerationConfig, PretrainedConfig

from gguf import GGUFWriter, TokenType
from tinsmith.base.errors import AssetError
from tinsmith.gguf.families import architecture_metadata
from tinsmith.gguf.pretokenizers import name_pre_tokenizer

_TOKENIZER = "tokenizer.json"


def refuse_unwritable_tokenizer(tokenizer_dir: Path) -> None:
    """Raise AssetError for a saved tokenizer that llama.cpp would not follow token by token."""
    _name_tokenizer(_read_tokenizer(tokenizer_dir), tokenizer_dir)


def add_architecture(writer: GGUFWriter, config: PretrainedConfig, name: str) -> None:
    """Write the model's name and its architecture: sizes, head counts, positions and norms."""
    writer.add_type("model")
    writer.add_name(name)
    for key, value in architecture_metadata(config).items():
        if isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)


def add_tokenizer(writer: GGUFWriter, config: PretrainedConfig, model_dir: Path) -> None:
    """Write tokens, merges, special and stop tokens, and the chat template. Raises AssetError."""
    saved = _read_tokenizer(model_dir)
    tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
    pre_tokenizer = _name_tokenizer(saved, model_dir)
    writer.add_add_space_prefix(bool(_pre_tokenizer_steps(saved)[-1]["add_prefix_space"]))
    prefix = tokenizer("")["input_ids"]
    writer.add_add_bos_token(bool(prefix) and prefix[0] == tokenizer.bos_token_id)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    tokens, types = _vocabulary(saved, config.vocab_size)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in saved["model"]["merges"]])
    _add_special_tokens(writer, tokenizer, model_dir)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def read_stop_tokens(model_dir: Path) -> list[int]:
    """Return the ids on which a saved model stops. Raises AssetError if there is none."""
    try:
        ids = GenerationConfig.from_pretrained(model_dir, local_files_only=True).eos_token_id
    except OSError:
        ids = None
    if ids is None:
        raise AssetError(
            "names no stop token (eos_token_id)",
            where=str(model_dir / "generation_config.json"),
            next_step="save the model with its generation_config.json",
        )
    return list(ids) if isinstance(ids, list) else [ids]


def _add_special_tokens(writer: GGUFWriter, tokenizer: Any, model_dir: Path) -> None:
    stops = read_stop_tokens(model_dir)
    if len(stops) > 2:
        raise AssetError(
            f"it stops on {len(stops)} tokens ({stops}); a GGUF file has room for two",
            where=str(model_dir / "generation_config.json"),
            next_step="keep the end of text and the end of turn in eos_token_id",
        )
    adders = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: stops[0],
        writer.add_eot_token_id: stops[1] if len(stops) > 1 else None,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
    }
    for add, token_id in adders.items():
        if token_id is not None:
            add(token_id)


def _read_tokenizer(directory: Path) -> dict[str, Any]:
    saved: dict[str, Any] = json.loads((directory / _TOKENIZER).read_text(encoding="utf-8"))
    return saved


def _vocabulary(saved: dict[str, Any], size: int) -> tuple[list[str], list[TokenType]]:
    tokens = [f"[PAD{token_id}]" for token_id in range(size)]
    types = [TokenType.UNUSED] * size
    for token, token_id in saved["model"]["vocab"].items():
        tokens[token_id], types[token_id] = token, TokenType.NORMAL
    for added in saved["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    return tokens, types


def _name_tokenizer(saved: dict[str, Any], directory: Path) -> str:
    """Return llama.cpp's name for how a byte-level BPE splits text. Raises AssetError for other tokenizers."""
    steps = _pre_tokenizer_steps(saved)
    normalizer = saved.get("normalizer") or {}
    unchanged = not normalizer or (normalizer["type"] == "Sequence" and not normalizer["normalizers"])
    byte_level = bool(steps) and steps[-1].get("type") == "ByteLevel"
    if saved["model"]["type"] != "BPE" or not byte_level or not unchanged:
        raise AssetError(
            "its tokenizer is not a plain byte-level BPE",
            where=str(directory / _TOKENIZER),
            next_step="choose a base with a byte-level vocabulary, such as SmolLM2",
        )
    return name_pre_tokenizer(steps, directory / _TOKENIZER)


def _pre_tokenizer_steps(saved: dict[str, Any]) -> list[dict[str, Any]]:
    pre_tokenizer = saved.get("pre_tokenizer") or {}
    return pre_tokenizer["pretokenizers"] if pre_tokenizer.get("type") == "Sequence" else [pre_tokenizer]
