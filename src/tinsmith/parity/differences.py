"""Describe where an export reads the prompts of the parity gate otherwise than the trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tinsmith.base.errors import RecipeError
from tinsmith.parity.conversations import typed_markup
from tinsmith.parity.findings import STOP_TOKENS, TEMPLATE, TOKENIZER, Finding
from tinsmith.parity.opened import DirectoryModel, GgufModel
from tinsmith.parity.prompts import Prompt
from tinsmith.parity.sides import ServerSide
from tinsmith.parity.trained import Trained
from tinsmith.serve.prompts import Prompts
from tinsmith.serve.served import Service
from tinsmith.tokens.chat import ChatEncoder, Message, Refused

_COMPLETED_CHATS = 4  # chats that are sent to /v1/chat/completions as well


def saved_differences(saved: DirectoryModel, trained: Trained) -> Iterator[Finding]:
    """Compare the tokens and chats of the prompts, read by a saved model's tokenizer, with those of the trained one."""
    for number, prompt in enumerate(trained.prompts):
        if prompt.kind == "job":
            continue  # nothing but token ids
        if prompt.messages:
            text = saved.render(prompt.messages) or ""
            yield from _compare_text(number, prompt.text, text)
            ids = saved.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = saved.token_ids(prompt.text, markup=True)
        yield from _compare_ids(number, prompt, ids)


def header_differences(trained: DirectoryModel, file: GgufModel) -> Iterator[Finding]:
    """Compare the stop tokens that a file of ours names: llama.cpp ends on some others by their text."""
    if sorted(file.stops) != sorted(trained.stops):
        names = [[model.vocabulary.tokens[stop] for stop in model.stops] for model in (trained, file)]
        yield Finding(
            STOP_TOKENS, f"the stop tokens are {names[0]} in {trained.called} and {names[1]} in {file.called}"
        )


def server_differences(server: ServerSide, trained: Trained) -> Iterator[Finding]:
    """Compare the token ids, chat template and stop tokens of llama.cpp's server with those of the trained model."""
    chats = [(number, prompt) for number, prompt in enumerate(trained.prompts) if prompt.messages]
    texts = [
        (number, prompt)
        for number, prompt in enumerate(trained.prompts)
        if prompt.text and not prompt.messages
    ]
    # If a BOS starts every text, llama.cpp removes it from the template so that it appears once.
    bos = str(trained.tokenizer.bos_token) if trained.opened.vocabulary.adds_bos else ""
    for number, prompt in chats:
        text = server.render(prompt.messages)
        yield from _compare_text(number, prompt.text.removeprefix(bos), text.removeprefix(bos))
        yield from _compare_ids(number, prompt, server.token_ids(text))
    for number, prompt in chats[:_COMPLETED_CHATS]:
        read = server.chat_tokens(prompt.messages)
        if read != len(prompt.ids):
            expected = f"not {len(prompt.ids)}"
            yield Finding(TEMPLATE, f"prompt {number}: /v1/chat/completions read {read} tokens, {expected}")
    for number, prompt in texts:
        yield from _compare_ids(number, prompt, server.token_ids(prompt.text))
        if prompt.kind == "trap":
            plain_ids = trained.tokenizer(prompt.text, split_special_tokens=True)["input_ids"]
            plain = Prompt("trap without markup", prompt.text, tuple(plain_ids))
            yield from _compare_ids(number, plain, server.token_ids(prompt.text, markup=False))
    for token in trained.opened.stops:
        if not server.stops_on(token, trained.prompts[-1].ids):
            name = trained.tokenizer.decode([token])
            yield Finding(STOP_TOKENS, f"generation does not stop on the stop token {token} ({name})")


def typed_differences(service: Service, gguf: Path, trained: Trained) -> Iterator[Finding]:
    """Compare the tokens of conversations with markup that a person typed: served, and as the trainer encodes them."""
    if not trained.tokenizer.chat_template:
        return
    encoder, prompts = ChatEncoder(trained.tokenizer), Prompts(gguf)
    specials = list(dict.fromkeys(map(str, trained.tokenizer.all_special_tokens)))
    with closing(prompts), service.client() as client:
        for number, messages in enumerate(typed_markup(specials)):
            expected = _learnt(encoder, messages)
            if expected is None:
                continue
            ids = prompts.chat_ids([Message(message["role"], message["content"]) for message in messages])
            asked = Prompt("typed markup", messages[-1]["content"], tuple(expected))
            yield from _compare_ids(number, asked, ids)
            reply = client.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 1})
            read = reply.json()["usage"]["prompt_tokens"] if reply.status_code == 200 else reply.text
            if read != len(expected):
                what = f"typed markup {number}: the service read {read} tokens, not {len(expected)}"
                yield Finding(TOKENIZER, what)


def _learnt(encoder: ChatEncoder, messages: Sequence[dict[str, str]]) -> list[int] | None:
    """Return the ids that the trainer puts before an answer; None where the template takes no such conversation."""
    answered = [
        *(Message(message["role"], message["content"]) for message in messages),
        Message("assistant", "Yes."),
    ]
    try:
        encoded = encoder.encode(answered, where="parity gate")
    except (Refused, RecipeError):
        return None
    return encoded.ids[: encoded.last_target]


def _compare_ids(number: int, prompt: Prompt, ids: Sequence[int]) -> Iterator[Finding]:
    if tuple(ids) != prompt.ids:
        at = _first_unequal(prompt.ids, ids)
        expected, got = list(prompt.ids[at : at + 6]), list(ids[at : at + 6])
        what = f"token ids of prompt {number} ({prompt.kind} {prompt.text[:40]!r})"
        yield Finding(TOKENIZER, f"{what} differ from token {at} on: expected {expected}, got {got}")


def _compare_text(number: int, expected: str, text: str) -> Iterator[Finding]:
    if text != expected:
        at = _first_unequal(expected, text)
        where = f"at character {at} expected {expected[at : at + 40]!r}, got {text[at : at + 40]!r}"
        yield Finding(TEMPLATE, f"the chat template renders prompt {number} differently: {where}")


def _first_unequal(expected: Sequence[Any], got: Sequence[Any]) -> int:
    return next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
