"""Open and save tokenizers: Hugging Face directories, and the vocabulary inside a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tinsmith.base.errors import AssetError
from tinsmith.base.files import write_json
from tinsmith.gguf.vocabulary import tokenizer_from_gguf


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Open the tokenizer of a Hugging Face directory or a GGUF file. Raises AssetError."""
    tokenizer = tokenizer_from_gguf(path) if path.is_file() else _from_directory(path)
    if tokenizer.eos_token_id is None:
        raise AssetError(
            "the tokenizer has no end-of-text token",
            where=str(path),
            next_step="set eos_token in tokenizer_config.json, or choose another base",
        )
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, path: Path, *, turn_end: str | None = None) -> None:
    """Write a Hugging Face tokenizer directory that older and newer transformers open.

    `turn_end` is the token that ends an answer if it is not the end of text; transformers keeps it as eot_token.
    """
    tokenizer.save_pretrained(path)
    config = path / "tokenizer_config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    if turn_end:
        settings["eot_token"] = turn_end
        write_json(config, settings)
    if settings.get("tokenizer_class") == "TokenizersBackend":
        # transformers 4 does not know the name that transformers 5 gives the plain fast tokenizer.
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        write_json(config, settings)


def _from_directory(path: Path) -> PreTrainedTokenizerFast:
    if not (path / "tokenizer.json").is_file() and not (path / "tokenizer.model").is_file():
        raise AssetError(
            "holds no tokenizer.json", where=str(path), next_step="choose a complete model directory"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, use_fast=True)
    except Exception as error:
        # transformers and tokenizers raise plain Exception for damaged files.
        raise AssetError(
            f"the tokenizer cannot be opened ({type(error).__name__}: {error})",
            where=str(path),
            next_step="check that tokenizer.json is complete",
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise AssetError(
            "has only a slow tokenizer", where=str(path), next_step="save it with a tokenizer.json"
        )
    return tokenizer
