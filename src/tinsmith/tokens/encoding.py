"""Encode text with a tokenizer: token ids, and the special tokens before and after a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if (
    TYPE_CHECKING
):  # transformers takes seconds to import, and `tinsmith plan` reads modules that need these functions
    from transformers import PreTrainedTokenizerFast


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Encode text alone: nothing is added, and markup such as <|im_end|> in it stays ordinary text."""
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
    """Return what the tokenizer puts before every text: [bos], or nothing."""
    ids: list[int] = tokenizer("")["input_ids"]
    return [ids[0]] if ids and ids[0] == tokenizer.bos_token_id else []


def context_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """Return the token that stands before a text: the tokenizer's begin of text, else its end of text."""
    return (prefix_ids(tokenizer) or [tokenizer.eos_token_id])[0]


def stop_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the tokens that end an answer: the end of text, and that of a turn where it is another."""
    turn = getattr(tokenizer, "eot_token_id", None)
    return list(dict.fromkeys(number for number in (tokenizer.eos_token_id, turn) if number is not None))
