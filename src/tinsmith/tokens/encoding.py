"""Encode text with a tokenizer: token ids, and the special tokens before and after a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

# transformers takes seconds to import, and `tinsmith plan` reads modules that use these functions.
if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Encode text without adding special tokens; markup such as <|im_end|> in it stays ordinary text."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)[
        "input_ids"
    ]
    return ids


def encode_all(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Encode many texts at once on all cores, each as `encode` does."""
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def prefix_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the ids that the tokenizer puts before every text: [bos] or []."""
    ids: list[int] = tokenizer("")["input_ids"]
    return [ids[0]] if ids and ids[0] == tokenizer.bos_token_id else []


def context_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """Return the token that precedes a text: the tokenizer's begin of text, else its end of text."""
    return (prefix_ids(tokenizer) or [tokenizer.eos_token_id])[0]


def stop_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the tokens that end an answer: the end of text, and the end of turn if it differs."""
    ids = (tokenizer.eos_token_id, getattr(tokenizer, "eot_token_id", None))
    return list(dict.fromkeys(token_id for token_id in ids if token_id is not None))
