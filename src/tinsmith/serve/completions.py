"""Answer chats and completions in OpenAI's shapes, whole or as a stream of events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic_core import to_json

from tinsmith.base.files import JsonObject
from tinsmith.serve.answering import Answering, Ask, BackendError, Part, unless_gone
from tinsmith.serve.requests import BadRequest, ChatRequest, CompletionRequest, read_chat, read_completion
from tinsmith.serve.shapes import ChatWriting, CompletionWriting, Writing

_NOBODY = 499  # the client has left


async def chat(answering: Answering, model: str, request: Request, body: JsonObject) -> Response:
    """Answer a body of /v1/chat/completions. Raises BadRequest, BackendError."""
    if not answering.prompts.chats:
        raise BadRequest("this model has no chat template; use /v1/completions", code="no_chat")
    asked = read_chat(body)
    ids = await answering.prompts.of_chat(asked.talk)
    thinks = answering.prompts.opens_thoughts(ids)
    writing = ChatWriting(model, len(ids), asked.likeliest, thinks=thinks)
    return await _respond(answering, request, asked, _asks(answering, asked, [ids]), writing)


async def complete(answering: Answering, model: str, request: Request, body: JsonObject) -> Response:
    """Answer a body of /v1/completions. Raises BadRequest, BackendError."""
    asked = read_completion(body)
    prompts = [await answering.prompts.of_text(prompt, markup=asked.parse_special) for prompt in asked.prompt]
    writing = CompletionWriting(model, sum(map(len, prompts)), asked.likeliest)
    return await _respond(answering, request, asked, _asks(answering, asked, prompts), writing)


def error_body(message: str, *, kind: str, field: str | None = None, code: str | None = None) -> JsonObject:
    """Return the body of an error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": field, "code": code}}


def _asks(
    answering: Answering, asked: ChatRequest | CompletionRequest, prompts: list[list[int]]
) -> list[Ask]:
    vocabulary = answering.prompts.vocabulary
    if asked.logit_bias and max(asked.logit_bias) >= vocabulary:
        raise BadRequest(f"`logit_bias`: a token id must be from 0 to {vocabulary - 1:,}", "logit_bias")
    tops = asked.likeliest
    settings = asked.for_llama_cpp() | {"n_probs": 0 if tops is None else max(1, tops)}
    asks = []
    for ids in prompts:
        left = answering.prompts.context - len(ids)
        most = left if asked.most is None else min(asked.most, left)
        for number in range(asked.n):
            # Answers to one prompt with one seed would all be the same.
            seed = {} if asked.seed is None else {"seed": (asked.seed + number) % 2**32}
            asks.append(Ask(ids, most, settings | seed, asked.response_format))
    return asks


async def _respond(
    answering: Answering,
    request: Request,
    asked: ChatRequest | CompletionRequest,
    asks: list[Ask],
    writing: Writing,
) -> Response:
    if not asked.stream:
        whole: list[Part] | None = await unless_gone(_left(request), answering.whole(asks))
        if whole is None:
            return Response(status_code=_NOBODY)
        return Response(to_json(writing.whole(whole)), media_type="application/json")
    parts = answering.parts(asks, stream=True)
    # What is refused is refused before the stream begins, with its status.
    first: Part | None = await unless_gone(_left(request), anext(parts))
    if first is None:
        return Response(status_code=_NOBODY)
    return _Stream(_events(first, parts, writing, len(asks), usage=asked.reports_usage))


async def _left(request: Request) -> None:
    """Return when the client has left; its whole body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(
    first: Part, parts: AsyncGenerator[Part, None], writing: Writing, answers: int, *, usage: bool
) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts):
        yield _written(*writing.opening(answers), *writing.chunks(first))
        try:
            async for part in parts:
                if chunks := writing.chunks(part):
                    yield _written(*chunks)
        except (BadRequest, BackendError) as error:
            yield _written(error_body(str(error), kind="server_error"))
            return
        yield _written(*([writing.last()] if usage else [])) + b"data: [DONE]\n\n"


def _written(*chunks: JsonObject) -> bytes:
    return b"".join(b"data: " + to_json(chunk) + b"\n\n" for chunk in chunks)


class _Stream(StreamingResponse):
    """Events that are ended together with the response, whoever ends it."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        self._written = events
        super().__init__(events, media_type="text/event-stream")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._written.aclose()
