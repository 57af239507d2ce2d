"""Describe where an export's metadata, tokens, chat template or stop tokens differ from the trained model's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinsmith.gguf.families import architecture_metadata
from tinsmith.gguf.metadata import read_stop_tokens
from tinsmith.parity.prompts import Prompt
from tinsmith.parity.sides import ServerSide, Trained
from tinsmith.tokens.tokenizer import load_tokenizer

TOKEN_IDS, STOP_TOKENS, OTHER = "token ids", "stop tokens", "other"
_COMPLETED_CHATS = 4  # chats that are sent to /v1/chat/completions as well
_LABELS = {
    "rope.freq_base": "the RoPE base",
    "ggml.add_bos_token": "whether a text starts with BOS",
    "ggml.bos_token_id": "the BOS token",
    "ggml.eos_token_id": "the stop token",
    "ggml.eot_token_id": "the second stop token",
}


class Difference(NamedTuple):
    """What differs (TOKEN_IDS, STOP_TOKENS or OTHER), and how, in words."""

    about: str
    text: str


def metadata_differences(metadata: dict[str, Any], trained: Trained) -> Iterator[Difference]:
    """Compare a GGUF file's metadata with the trained model's configuration and tokenizer."""
    architecture = architecture_metadata(trained.config)
    stops = [*trained.stops, None]
    expected = {
        "general.architecture": next(iter(architecture)).split(".")[0],
        **{key: float(np.float32(v)) if isinstance(v, float) else v for key, v in architecture.items()},
        "tokenizer.ggml.add_bos_token": trained.adds_bos,
        "tokenizer.ggml.bos_token_id": trained.tokenizer.bos_token_id,
        "tokenizer.ggml.eos_token_id": stops[0],
        "tokenizer.ggml.eot_token_id": stops[1],
    }
    for key, value in expected.items():
        if metadata.get(key) != value:
            label = _LABELS.get(key.partition(".")[2], key)
            about = STOP_TOKENS if "stop token" in label else OTHER
            yield Difference(about, f"{label} ({key}) is {metadata.get(key)}, in the trained model {value}")
    template, expected_template = metadata.get("tokenizer.chat_template"), trained.tokenizer.chat_template
    if template != expected_template:
        where = _first_difference(str(expected_template), str(template))
        yield Difference(OTHER, f"the chat template differs: {where}")


def saved_differences(path: Path, trained: Trained) -> Iterator[Difference]:
    """Compare the tokenizer, chat template and stop tokens of a saved model with those of the trained one."""
    tokenizer = load_tokenizer(path)
    for number, prompt in enumerate(trained.prompts):
        if prompt.kind == "job":
            continue  # nothing but token ids
        if prompt.messages:
            messages = list(prompt.messages)
            text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
            yield from _compare_text(number, prompt.text, text)
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = tokenizer(prompt.text)["input_ids"]
        yield from _compare_ids(number, prompt, ids)
    stops = read_stop_tokens(path)
    if stops != trained.stops:
        yield Difference(STOP_TOKENS, f"stop tokens are {stops}, those of the trained model {trained.stops}")


def server_differences(server: ServerSide, trained: Trained) -> Iterator[Difference]:
    """Compare the token ids, chat template and stop tokens of llama.cpp's server with those of the trained model."""
    chats = [(number, prompt) for number, prompt in enumerate(trained.prompts) if prompt.messages]
    texts = [
        (number, prompt)
        for number, prompt in enumerate(trained.prompts)
        if prompt.text and not prompt.messages
    ]
    # If a BOS starts every text, llama.cpp removes it from the template so that it appears once.
    bos = str(trained.tokenizer.bos_token) if trained.adds_bos else ""
    for number, prompt in chats:
        text = server.render(prompt.messages)
        yield from _compare_text(number, prompt.text.removeprefix(bos), text.removeprefix(bos))
        yield from _compare_ids(number, prompt, server.token_ids(text))
    for number, prompt in chats[:_COMPLETED_CHATS]:
        read = server.chat_tokens(prompt.messages)
        if read != len(prompt.ids):
            expected = f"not {len(prompt.ids)}"
            yield Difference(OTHER, f"prompt {number}: /v1/chat/completions read {read} tokens, {expected}")
    for number, prompt in texts:
        yield from _compare_ids(number, prompt, server.token_ids(prompt.text))
        if prompt.kind == "trap":
            plain_ids = trained.tokenizer(prompt.text, split_special_tokens=True)["input_ids"]
            plain = Prompt("trap without markup", prompt.text, tuple(plain_ids))
            yield from _compare_ids(number, plain, server.token_ids(prompt.text, markup=False))
    for token in trained.stops:
        if not server.stops_on(token, trained.prompts[-1].ids):
            name = trained.tokenizer.decode([token])
            yield Difference(STOP_TOKENS, f"generation does not stop on the stop token {token} ({name})")


def _compare_ids(number: int, prompt: Prompt, ids: Sequence[int]) -> Iterator[Difference]:
    if tuple(ids) != prompt.ids:
        at = _first_unequal(prompt.ids, ids)
        expected, got = list(prompt.ids[at : at + 6]), list(ids[at : at + 6])
        what = f"token ids of prompt {number} ({prompt.kind} {prompt.text[:40]!r})"
        yield Difference(TOKEN_IDS, f"{what} differ from token {at} on: expected {expected}, got {got}")


def _compare_text(number: int, expected: str, text: str) -> Iterator[Difference]:
    if text != expected:
        where = _first_difference(expected, text)
        yield Difference(OTHER, f"the chat template renders prompt {number} differently: {where}")


def _first_difference(expected: str, got: str) -> str:
    at = _first_unequal(expected, got)
    return f"at character {at} expected {expected[at : at + 40]!r}, got {got[at : at + 40]!r}"


def _first_unequal(expected: Sequence[Any], got: Sequence[Any]) -> int:
    return next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
