"""The metadata of a GGUF file: architecture and tokenizer of a saved model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GenerationConfig, PretrainedConfig

from gguf import GGUFWriter, TokenType
from tinsmith.base.errors import AssetError
from tinsmith.gguf.families import architecture_facts, family_of, writable_families

# How the byte-level pre-tokenizers of known families split text, by the names that llama.cpp gives them.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITTERS: dict[tuple[str, ...], str] = {
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",
    (_WORDS + r"\p{N}{1,3}" + _REST, "ByteLevel without regex"): "llama-bpe",
    (_WORDS + r"\p{N}" + _REST, "ByteLevel without regex"): "qwen2",
}


def refuse_unwritable(config: PretrainedConfig, where: Path) -> None:
    """Raise AssetError for what llama.cpp's architecture of the family cannot say, or has none for."""
    family = family_of(config)
    if family is None:
        known = ", ".join(writable_families())
        reasons = [f"its architecture is {config.model_type}; a GGUF file can be written for {known}"]
    else:
        reasons = [reason for reason, holds in family.objections(config).items() if holds]
    if reasons:
        raise AssetError(
            "; ".join(reasons),
            where=str(where),
            next_step="start from a plain model of a family that can be written",
        )


def refuse_unwritable_tokenizer(tokenizer_dir: Path) -> None:
    """Raise AssetError for a saved tokenizer that llama.cpp would not split text as."""
    facts = _read_tokenizer(tokenizer_dir)
    _check_byte_level(facts, tokenizer_dir)
    _pre_tokenizer(facts, tokenizer_dir)


def add_architecture(writer: GGUFWriter, config: PretrainedConfig, name: str) -> None:
    """Write the model's name, and sizes, head counts, positions and norms of its architecture."""
    writer.add_type("model")
    writer.add_name(name)
    for key, value in architecture_facts(config).items():
        if isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)


def add_tokenizer(writer: GGUFWriter, config: PretrainedConfig, model_dir: Path) -> None:
    """Write tokens, merges, special and stop tokens, and the chat template. Raises AssetError."""
    facts = _read_tokenizer(model_dir)
    tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
    prefix_space = _check_byte_level(facts, model_dir)
    writer.add_add_space_prefix(prefix_space)
    empty = tokenizer("")["input_ids"]
    writer.add_add_bos_token(bool(empty) and empty[0] == tokenizer.bos_token_id)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(facts, model_dir))
    tokens, types = _vocabulary(facts, config.vocab_size)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in facts["model"]["merges"]])
    _add_special_tokens(writer, tokenizer, model_dir)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _add_special_tokens(writer: GGUFWriter, tokenizer: Any, model_dir: Path) -> None:
    stops = read_stop_tokens(model_dir)
    if len(stops) > 2:
        raise AssetError(
            f"it stops on {len(stops)} tokens ({stops}); a GGUF file names two",
            where=str(model_dir / "generation_config.json"),
            next_step="keep the end of text and the end of turn",
        )
    adders = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: stops[0],
        writer.add_eot_token_id: stops[1] if len(stops) > 1 else None,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
    }
    for add, number in adders.items():
        if number is not None:
            add(number)


def read_stop_tokens(model_dir: Path) -> list[int]:
    """Return the ids on which a saved model stops. Raises AssetError if there is none."""
    try:
        found = GenerationConfig.from_pretrained(model_dir, local_files_only=True).eos_token_id
    except OSError:
        found = None
    if found is None:
        raise AssetError(
            "names no stop token (eos_token_id)",
            where=str(model_dir / "generation_config.json"),
            next_step="save the model with its generation_config.json",
        )
    return list(found) if isinstance(found, list) else [found]


def _read_tokenizer(directory: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    return facts


def _vocabulary(facts: dict[str, Any], size: int) -> tuple[list[str], list[TokenType]]:
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [TokenType.UNUSED] * size
    for token, number in facts["model"]["vocab"].items():
        tokens[number], types[number] = token, TokenType.NORMAL
    for added in facts["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    return tokens, types


def _check_byte_level(facts: dict[str, Any], where: Path) -> bool:
    """Return whether a space is put before a text."""
    last = (_steps(facts) or [{}])[-1]
    normal = facts.get("normalizer") or {}
    plain = not normal or (normal["type"] == "Sequence" and not normal["normalizers"])
    if facts["model"]["type"] != "BPE" or last.get("type") != "ByteLevel" or not plain:
        raise AssetError(
            "its tokenizer is no plain byte-level BPE",
            where=str(where / "tokenizer.json"),
            next_step="take a base with a byte-level vocabulary, such as SmolLM2",
        )
    return bool(last["add_prefix_space"])


def _pre_tokenizer(facts: dict[str, Any], where: Path) -> str:
    shape = tuple(_step_name(step) for step in _steps(facts))
    if shape not in _SPLITTERS:
        raise AssetError(
            f"its pre-tokenizer {list(shape)} has no name in llama.cpp known here",
            where=str(where / "tokenizer.json"),
            next_step=f"take a base whose pre-tokenizer is one of {', '.join(_SPLITTERS.values())}",
        )
    return _SPLITTERS[shape]


def _steps(facts: dict[str, Any]) -> list[dict[str, Any]]:
    pre = facts.get("pre_tokenizer") or {}
    return pre["pretokenizers"] if pre.get("type") == "Sequence" else [pre]


def _step_name(step: dict[str, Any]) -> str:
    kind = str(step.get("type"))
    if kind == "Split":
        return (
            str(step["pattern"].get("Regex"))
            if step["behavior"] == "Isolated" and not step["invert"]
            else kind
        )
    if kind == "Digits" and not step["individual_digits"]:
        return "Digits in groups"
    if kind == "ByteLevel" and not step["use_regex"]:
        return "ByteLevel without regex"
    return kind
