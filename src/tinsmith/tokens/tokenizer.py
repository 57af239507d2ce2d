"""Open and save tokenizers: Hugging Face directories, and the vocabulary inside a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import AssetError
from tinsmith.base.files import write_json
from tinsmith.gguf.families import open_configuration
from tinsmith.gguf.tokenizer import build_tokenizer, open_saved_tokenizer
from tinsmith.gguf.vocabulary import read_vocabulary, vocabulary_of


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Open the tokenizer of a Hugging Face directory or a GGUF file. Raises AssetError."""
    tokenizer = build_tokenizer(read_vocabulary(path)) if path.is_file() else _from_directory(path)
    if tokenizer.eos_token_id is None:
        raise AssetError(
            "the tokenizer has no end-of-text token",
            where=str(path),
            next_step="set eos_token in tokenizer_config.json, or choose another base",
        )
    return tokenizer


def load_base_tokenizer(path: Path) -> tuple[PreTrainedTokenizerFast, tuple[str, ...]]:
    """Open the tokenizer of a base as llama.cpp will run it; also return what of the published one it leaves out.

    A model learns from the tokens that it will read in every exported file. Raises AssetError for a tokenizer that
    llama.cpp does not know.
    """
    tokenizer = load_tokenizer(path)
    if path.is_file():
        return tokenizer, ()
    vocabulary = vocabulary_of(tokenizer, path / "tokenizer.json")
    if (path / "config.json").is_file():
        vocabulary = vocabulary.cut(open_configuration(path).vocab_size, path)
    return build_tokenizer(vocabulary), vocabulary.left_out


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
        tokenizer = open_saved_tokenizer(path)
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
    _require_ids(tokenizer, path / "tokenizer.json")
    return tokenizer


def _require_ids(tokenizer: PreTrainedTokenizerFast, file: Path) -> None:
    """Raise AssetError where the library gives an added token another id than the file does, as it does in silence."""
    listed = json.loads(file.read_text(encoding="utf-8"))["added_tokens"] if file.exists() else []
    for added in listed:
        opened = tokenizer.backend_tokenizer.token_to_id(added["content"])
        if opened != added["id"]:
            raise AssetError(
                f"gives the token {added['content']!r} the id {added['id']}, and opened it has {opened}",
                where=str(file),
                next_step="list each token once, with ids that follow those of the vocabulary without a gap",
            )
