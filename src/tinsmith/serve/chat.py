"""Chat with a bundle's model in the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import httpx

from tinsmith.base.errors import AssetError, RunError
from tinsmith.gguf.header import read_metadata
from tinsmith.serve.runtime import LlamaServer, find_gguf

_HELP = "empty line or /new: start over, /exit or Ctrl-D: quit, Ctrl-C: stop an answer"


def chat(
    bundle_or_gguf: Path,
    *,
    format: str | None = None,
    system: str | None = None,
    temperature: float = 0.2,
    max_tokens: int = 512,
    source: TextIO | None = None,
    sink: TextIO | None = None,
) -> None:
    """Chat with a model, one line per turn, until the input ends. Raises BundleError, AssetError, RunError."""
    source, sink = source or sys.stdin, sink or sys.stdout
    gguf = find_gguf(bundle_or_gguf, format)
    with LlamaServer(gguf) as server, server.client() as client:
        if "tokenizer.chat_template" not in read_metadata(gguf):
            raise AssetError(
                "has no chat template",
                where=str(gguf),
                next_step="use tinsmith serve and its route /v1/completions",
            )
        opening = [{"role": "system", "content": system}] if system else []
        messages = list(opening)
        if source.isatty():
            print(f"{gguf.name} ({_HELP})", file=sink, flush=True)
        for line in _lines(source, sink):
            if line == "/exit":
                break
            if line in ("", "/new"):
                messages = list(opening)
                continue
            messages.append({"role": "user", "content": line})
            body = {"messages": messages, "temperature": temperature, "max_tokens": max_tokens}
            messages.append({"role": "assistant", "content": _answer(client, body, sink)})


def _lines(source: TextIO, sink: TextIO) -> Iterator[str]:
    while True:
        if source.isatty():
            print("> ", end="", file=sink, flush=True)
        try:
            line = source.readline()
        except KeyboardInterrupt:
            line = ""
        if not line:
            return
        yield line.strip()


def _answer(client: httpx.Client, body: dict[str, object], sink: TextIO) -> str:
    """Print an answer as it streams; return it, or its part before Ctrl-C."""
    pieces: list[str] = []
    try:
        with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as reply:
            if reply.status_code != 200:
                raise _refusal(reply.read())
            for piece in _deltas(reply):
                pieces.append(piece)
                print(piece, end="", file=sink, flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", end="", file=sink)
    except httpx.TransportError as error:
        raise RunError(f"the model's server stopped ({error})", next_step="start the chat again") from error
    print(file=sink, flush=True)
    return "".join(pieces)


def _deltas(reply: httpx.Response) -> Iterator[str]:
    for line in _events(reply):
        if not line.startswith(b"data: ") or line == b"data: [DONE]":
            continue
        event = json.loads(line.removeprefix(b"data: "))
        if "error" in event:
            raise _refusal(line.removeprefix(b"data: "))
        if event["choices"]:
            yield event["choices"][0]["delta"].get("content") or ""


def _events(reply: httpx.Response) -> Iterator[bytes]:
    """Yield the lines of a stream; httpx also ends lines at U+2028 and its like, which are part of a JSON text."""
    rest = b""
    for piece in reply.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.rstrip(b"\r") for line in lines)
    yield rest


def _refusal(body: bytes) -> RunError:
    message = json.loads(body)["error"]["message"]
    return RunError(f"the model refused: {message}", next_step="start over with /new, or send less text")
