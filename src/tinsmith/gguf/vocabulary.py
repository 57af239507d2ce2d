"""Build a tokenizer from the vocabulary of a GGUF file that agrees with llama.cpp token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.pretokenizers import PRE_TOKENIZERS, build_pre_tokenizer

# Token types of the GGUF specification (tokenizer.ggml.token_type).
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_SPECIAL_TOKENS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def tokenizer_from_gguf(path: Path) -> PreTrainedTokenizerFast:
    """Build the tokenizer from the GGUF's own metadata. Raises AssetError that names the path.

    The loader inside transformers swaps begin and end of text for llama files and drops their pre-tokenizer, so its
    token ids would differ from llama.cpp's.
    """
    metadata = _read_tokenizer_metadata(path)
    model = metadata.get("model")
    if model == "gpt2":
        backend = _byte_level(metadata, path)
    elif model == "llama":
        backend = _sentence_pieces(metadata)
    else:
        raise AssetError(
            f"its tokenizer is of the type {model!r}",
            where=str(path),
            next_step="use a GGUF with a gpt2 or llama vocabulary",
        )
    special = {role: _token(metadata, key) for role, key in _SPECIAL_TOKENS.items()}
    if metadata.get("add_bos_token", model == "llama") and special["bos_token"] is not None:
        _prepend_bos(backend, special["bos_token"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=metadata.get("chat_template"),
        clean_up_tokenization_spaces=False,
        **{role: token for role, token in special.items() if token is not None},
    )


def _read_tokenizer_metadata(path: Path) -> dict[str, Any]:
    """Return the tokenizer.* metadata by short name ('tokens', 'bos_token_id', 'chat_template', ...)."""
    metadata = {
        name.removeprefix("tokenizer.").removeprefix("ggml."): value
        for name, value in read_metadata(path).items()
        if name.startswith("tokenizer.")
    }
    tokens = metadata.get("tokens", [])
    if not tokens or len(set(tokens)) != len(tokens):
        raise AssetError(
            "its vocabulary lists a token twice" if tokens else "holds no vocabulary",
            where=str(path),
            next_step="use a GGUF of a text model, or a Hugging Face directory",
        )
    metadata.setdefault("token_type", [_NORMAL] * len(tokens))
    return metadata


def _token(metadata: dict[str, Any], key: str) -> str | None:
    token_id, tokens = metadata.get(key), metadata["tokens"]
    return tokens[token_id] if token_id is not None and token_id < len(tokens) else None


def _byte_level(metadata: dict[str, Any], path: Path) -> Tokenizer:
    pre = metadata.get("pre", "gpt-2")
    if pre not in PRE_TOKENIZERS:
        raise AssetError(
            f"its pre-tokenizer {pre!r} is not supported (supported: {', '.join(PRE_TOKENIZERS)})",
            where=str(path),
            next_step="use the model's Hugging Face directory instead",
        )
    merges = [tuple(merge.split(" ", 1)) for merge in metadata.get("merges", [])]
    vocabulary = {token: token_id for token_id, token in enumerate(metadata["tokens"])}
    backend = Tokenizer(BPE(vocabulary, merges, ignore_merges=pre == "llama-bpe"))
    add_prefix_space = bool(metadata.get("add_space_prefix", False))
    backend.pre_tokenizer = build_pre_tokenizer(pre, add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    _add_markup(backend, metadata)
    return backend


def _sentence_pieces(metadata: dict[str, Any]) -> Tokenizer:
    """Rebuild greedy merging by score: of all neighbouring pairs, merge first the one whose union scores best."""
    vocabulary = {token: token_id for token_id, token in enumerate(metadata["tokens"])}
    merges = _merges_by_score(metadata, vocabulary)
    unknown = _token(metadata, "unknown_token_id")
    backend = Tokenizer(BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    prefix = metadata.get("add_space_prefix", True)
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    _add_markup(backend, metadata)
    return backend


def _merges_by_score(metadata: dict[str, Any], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    tokens, types = metadata["tokens"], metadata["token_type"]
    scores = metadata.get("scores") or [0.0] * len(tokens)
    pieces = [i for i, type in enumerate(types) if type == _NORMAL and len(tokens[i]) > 1]
    pieces.sort(key=lambda i: (-scores[i], i))
    halves = ((tokens[i][:cut], tokens[i][cut:]) for i in pieces for cut in range(1, len(tokens[i])))
    return [(left, right) for left, right in halves if left in vocabulary and right in vocabulary]


def _add_markup(backend: Tokenizer, metadata: dict[str, Any]) -> None:
    def tokens_of(wanted: int, *, special: bool) -> list[AddedToken]:
        typed = zip(metadata["tokens"], metadata["token_type"], strict=True)
        return [
            AddedToken(token, normalized=False, special=special) for token, type in typed if type == wanted
        ]

    backend.add_special_tokens(tokens_of(_CONTROL, special=True))
    backend.add_tokens(tokens_of(_USER_DEFINED, special=False))


def _prepend_bos(backend: Tokenizer, bos: str) -> None:
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, backend.token_to_id(bos))]
    )
