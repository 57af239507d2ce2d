"""The vocabulary inside a GGUF file as a tokenizer that agrees with llama.cpp token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata

# Token types of the GGUF specification (tokenizer.ggml.token_type).
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_SPACES = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def tokenizer_from_gguf(path: Path) -> PreTrainedTokenizerFast:
    """Build the tokenizer from the GGUF's own metadata. Raises AssetError that names the path.

    The loader inside transformers swaps end and beginning of text for llama files and forgets their
    pre-tokenizer, so token ids would differ from those of llama.cpp.
    """
    facts = _read_vocabulary(path)
    kind = facts.get("model")
    if kind == "gpt2":
        backend = _byte_level(facts, path)
    elif kind == "llama":
        backend = _sentence_pieces(facts)
    else:
        raise AssetError(
            f"its tokenizer is of the kind {kind!r}",
            where=str(path),
            next_step="use a GGUF with a gpt2 or llama vocabulary",
        )
    named = {role: _token(facts, key) for role, key in _ROLES.items()}
    if facts.get("add_bos_token", kind == "llama") and named["bos_token"] is not None:
        _prepend_bos(backend, named["bos_token"])
    present = {role: token for role, token in named.items() if token is not None}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=facts.get("chat_template"),
        clean_up_tokenization_spaces=False,
        **present,
    )


_ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def _read_vocabulary(path: Path) -> dict[str, Any]:
    """Return the tokenizer.* metadata by short name ('tokens', 'bos_token_id', 'chat_template', ...)."""
    metadata = read_metadata(path)
    facts = {
        name.removeprefix("tokenizer.").removeprefix("ggml."): value
        for name, value in metadata.items()
        if name.startswith("tokenizer.")
    }
    tokens = facts.get("tokens", [])
    if not tokens or len(set(tokens)) != len(tokens):
        why = "holds no vocabulary" if not tokens else "names one token twice"
        raise AssetError(
            why, where=str(path), next_step="use a GGUF of a text model, or a Hugging Face directory"
        )
    facts.setdefault("token_type", [_NORMAL] * len(tokens))
    return facts


def _token(facts: dict[str, Any], key: str) -> str | None:
    number = facts.get(key)
    return facts["tokens"][number] if number is not None and number < len(facts["tokens"]) else None


def _byte_level(facts: dict[str, Any], path: Path) -> Tokenizer:
    splitters: dict[str, list[pre_tokenizers.PreTokenizer]] = {
        "gpt-2": [],
        "smollm": [pre_tokenizers.Digits(individual_digits=True)],
        "llama-bpe": [pre_tokenizers.Split(Regex(_LETTERS + r"\p{N}{1,3}" + _SPACES), "isolated")],
        "qwen2": [pre_tokenizers.Split(Regex(_LETTERS + r"\p{N}" + _SPACES), "isolated")],
    }
    pre = facts.get("pre", "gpt-2")
    if pre not in splitters:
        known = ", ".join(splitters)
        raise AssetError(
            f"its pre-tokenizer {pre!r} is unknown here (known: {known})",
            where=str(path),
            next_step="use the model's Hugging Face directory instead",
        )
    merges = [tuple(merge.split(" ", 1)) for merge in facts.get("merges", [])]
    vocabulary = {token: number for number, token in enumerate(facts["tokens"])}
    backend = Tokenizer(BPE(vocabulary, merges, ignore_merges=pre == "llama-bpe"))
    plain = pre in ("gpt-2", "smollm")
    space_first = bool(facts.get("add_space_prefix", False))
    last = pre_tokenizers.ByteLevel(add_prefix_space=space_first, use_regex=plain)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splitters[pre], last])
    backend.decoder = decoders.ByteLevel()
    _add_markup(backend, facts)
    return backend


def _sentence_pieces(facts: dict[str, Any]) -> Tokenizer:
    """Rebuild greedy merging by score: of all neighbours the pair whose union scores best is joined first."""
    tokens = facts["tokens"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = _merges_by_score(
        tokens, facts["token_type"], facts.get("scores") or [0.0] * len(tokens), vocabulary
    )
    backend = Tokenizer(
        BPE(
            vocabulary, merges, unk_token=_token(facts, "unknown_token_id"), fuse_unk=True, byte_fallback=True
        )
    )
    prefix = facts.get("add_space_prefix", True)
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    _add_markup(backend, facts)
    return backend


def _merges_by_score(
    tokens: list[str], types: list[int], scores: list[float], vocabulary: dict[str, int]
) -> list[tuple[str, str]]:
    pieces = [number for number, kind in enumerate(types) if kind == _NORMAL and len(tokens[number]) > 1]
    pieces.sort(key=lambda number: (-scores[number], number))
    splits = ((tokens[number], cut) for number in pieces for cut in range(1, len(tokens[number])))
    halves = ((token[:cut], token[cut:]) for token, cut in splits)
    return [pair for pair in halves if pair[0] in vocabulary and pair[1] in vocabulary]


def _add_markup(backend: Tokenizer, facts: dict[str, Any]) -> None:
    typed = list(zip(facts["tokens"], facts["token_type"], strict=True))
    control = [AddedToken(token, normalized=False, special=True) for token, kind in typed if kind == _CONTROL]
    defined = [
        AddedToken(token, normalized=False, special=False) for token, kind in typed if kind == _USER_DEFINED
    ]
    backend.add_special_tokens(control)
    backend.add_tokens(defined)


def _prepend_bos(backend: Tokenizer, bos: str) -> None:
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, backend.token_to_id(bos))]
    )
