"""Have llama.cpp's server write answers: with room for each, one or many, whole or as they are written.

A client that leaves closes its answer; the room is free again once llama.cpp has noticed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic_core import from_json, to_json

from tinsmith.base.errors import TinsmithError
from tinsmith.base.files import JsonObject
from tinsmith.serve.prompts import Prompts
from tinsmith.serve.requests import BadRequest
from tinsmith.serve.room import Room
from tinsmith.serve.runtime import ONE_REQUEST_EACH, LlamaServer

_DATA, _END = b"data: ", b"\n\n"
_FIELDS = (
    "content",
    "stop",
    "stop_type",
    "tokens_predicted",
    "completion_probabilities",
    "timings",
    "tokens",
)
_KNOWN_SCHEMAS = 256
_BIAS = 1000.0  # on a token, so that it is chosen unless it is forbidden


class BackendError(Exception):
    """llama.cpp's server gave no answer, in words."""


@dataclass(frozen=True)
class Ask:
    """A prompt to answer: its ids, the most tokens of the answer, and the fields of llama.cpp's /completion."""

    ids: list[int]
    most: int
    settings: JsonObject
    schema: JsonObject | None = None


@dataclass(frozen=True)
class Part:
    """A part of the answer with an index, or a whole one: text, probabilities of its tokens, and at the end the counts.

    `finish` is OpenAI's name of why it ended, and empty before.
    """

    index: int
    text: str
    probabilities: list[JsonObject] = field(default_factory=list)
    finish: str = ""
    tokens: int = 0
    cached: int = 0


class Answering:
    """A running server of llama.cpp with its room. For one event loop, in an `async with` block."""

    def __init__(self, backend: LlamaServer, plain_chats: bool = False) -> None:
        self.backend = backend
        slots, tokens = backend.settings["slots"], backend.settings["context"]
        each = tokens if backend.settings["shared"] else tokens // slots
        self.prompts = Prompts(backend.gguf, each, plain_chats)
        self.room = Room(slots, tokens or self.prompts.context)
        self._schemas: dict[bytes, bool] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Answering:
        headers = {"Authorization": f"Bearer {self.backend.api_key}"}
        self._client = httpx.AsyncClient(
            headers=headers, timeout=httpx.Timeout(5.0, read=None), trust_env=False, limits=ONE_REQUEST_EACH
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self._client.aclose()
        self.prompts.close()

    async def whole(self, asks: Sequence[Ask]) -> list[Part]:
        """Return the answers. Raises BadRequest, BackendError."""
        return [part async for part in self.parts(asks, stream=False)]

    async def parts(self, asks: Sequence[Ask], *, stream: bool) -> AsyncGenerator[Part, None]:
        """Yield the answers, part by part with `stream`, else whole in their order. Raises BadRequest, BackendError."""
        answers = [self._answer(index, ask, stream) for index, ask in enumerate(asks)]
        if len(answers) == 1:
            async with aclosing(answers[0]) as parts:
                async for part in parts:
                    yield part
            return
        queue: asyncio.Queue[Part | BaseException | None] = asyncio.Queue()

        async def pump(parts: AsyncIterator[Part]) -> None:
            try:
                async for part in parts:
                    queue.put_nowait(part)
                queue.put_nowait(None)
            except Exception as error:
                queue.put_nowait(error)

        pumps = [asyncio.create_task(pump(parts)) for parts in answers]
        try:
            ended, kept = 0, []
            while ended < len(pumps):
                found = await queue.get()
                if isinstance(found, BaseException):
                    raise found
                if found is None:
                    ended += 1
                elif stream:
                    yield found
                else:
                    kept.append(found)
            for part in sorted(kept, key=lambda part: part.index):
                yield part
        finally:
            for task in pumps:
                task.cancel()

    async def _answer(self, index: int, ask: Ask, stream: bool) -> AsyncGenerator[Part, None]:
        slot, reply, ended = await self.room.take(ask.ids, len(ask.ids) + ask.most), None, False
        try:
            if ask.schema is not None:
                await self._require(ask, slot)
            reply = await self._send(self._body(ask, slot) | {"stream": stream})
            async for event in _events(reply, stream):
                part = _part(index, event)
                ended = bool(part.finish)
                yield part
            if not ended:
                raise await self._gone("it broke off")
        except httpx.TransportError as error:
            raise await self._gone(type(error).__name__) from error
        finally:
            # Nothing may be waited for here: this task may be ending because its client left.
            if ended:
                self.room.give_back(slot)
            else:
                task = asyncio.create_task(self._leave(slot, reply))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    def _body(self, ask: Ask, slot: int) -> JsonObject:
        schema = {} if ask.schema is None else {"json_schema": ask.schema}
        return {
            "prompt": ask.ids,
            "n_predict": ask.most,
            "id_slot": slot,
            "cache_prompt": True,
            "response_fields": _FIELDS,
            **ask.settings,
            **schema,
        }

    async def _require(self, ask: Ask, slot: int) -> None:
        """Raise BadRequest where llama.cpp cannot hold an answer to a schema: it would go on without it in silence."""
        key = json.dumps(ask.schema, sort_keys=True).encode()
        if key not in self._schemas:
            never = self.prompts.never_in_json
            body = self._body(ask, slot) | {
                "n_predict": 1,
                "logit_bias": [[never, _BIAS]],
                "return_tokens": True,
            }
            reply = await self._send(body | {"stream": False})
            found = from_json(await reply.aread())["tokens"]
            if len(self._schemas) >= _KNOWN_SCHEMAS:
                self._schemas.clear()
            self._schemas[key] = never not in found
        if not self._schemas[key]:
            raise BadRequest(
                "`response_format`: llama.cpp cannot hold an answer to this schema", "response_format"
            )

    async def _send(self, body: JsonObject) -> httpx.Response:
        request = self._client.build_request(
            "POST",
            f"{self.backend.base_url}/completion",
            content=to_json(body),
            headers={"Content-Type": "application/json"},
        )
        reply = await self._client.send(request, stream=True)
        if reply.status_code != 200:
            content = await reply.aread()
            raise _refusal(reply.status_code, content)
        return reply

    async def _leave(self, slot: int, reply: httpx.Response | None) -> None:
        """Close an answer, and give its room back once llama.cpp has ended it."""
        try:
            if reply is not None:
                await reply.aclose()
            # A request for the slot waits until the slot is free.
            body = {"prompt": [0], "n_predict": 0, "id_slot": slot, "stream": False}
            await (await self._send(body)).aread()
        except (httpx.TransportError, BadRequest, BackendError):
            pass  # a server that is gone holds nothing
        finally:
            self.room.give_back(slot)

    async def _gone(self, how: str) -> BackendError:
        """Start the server again if it has ended, and say so."""
        try:
            again = await asyncio.to_thread(self.backend.revive)
        except TinsmithError as failure:
            return BackendError(f"the model's server stopped and cannot be started again: {failure.what}")
        if again:
            return BackendError("the model's server stopped and was started again; ask again")
        return BackendError(f"the model's server does not answer ({how}); ask again")


async def _events(reply: httpx.Response, stream: bool) -> AsyncIterator[JsonObject]:
    """Yield what a reply tells: one object, or each of a stream."""
    if not stream:
        yield from_json(await reply.aread())
        return
    rest = b""
    async for piece in reply.aiter_raw():
        *events, rest = (rest + piece).split(_END)
        for event in events:
            if event.startswith(_DATA) and event != b"data: [DONE]":
                yield from_json(event[len(_DATA) :])
            elif event.startswith(b"error: "):
                raise _refusal(500, event.removeprefix(b"error: "))


def _part(index: int, event: JsonObject) -> Part:
    if "error" in event:
        raise _refusal(500, to_json(event))
    finish = "" if not event.get("stop") else "length" if event["stop_type"] == "limit" else "stop"
    return Part(
        index,
        # A whole answer ends with this mark where it ends within a character, of which a stream sends nothing.
        event["content"].removesuffix("\ufffd") if finish else event["content"],
        event.get("completion_probabilities", []),
        finish,
        event.get("tokens_predicted", 0),
        event.get("timings", {}).get("cache_n", 0),
    )


def _refusal(status: int, content: bytes) -> BadRequest | BackendError:
    try:
        message = str(from_json(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = content.decode("utf-8", "replace")[:200]
    return BadRequest(message) if status < 500 else BackendError(f"the model's server failed: {message}")


async def unless_gone(left: Coroutine[Any, Any, None], work: Coroutine[Any, Any, Any]) -> Any:
    """Return what `work` returns, or None if its client `left` before; the work is then ended."""
    tasks = [asyncio.create_task(work), asyncio.create_task(left)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
