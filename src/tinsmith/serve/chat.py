"""Chat with a bundle's model in the terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import httpx

from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata
from tinsmith.serve.runtime import find_gguf
from tinsmith.serve.served import served_model

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
    gguf = find_gguf(bundle_or_gguf, format)
    if "tokenizer.chat_template" not in read_metadata(gguf):
        raise AssetError(
            "has no chat template",
            where=str(gguf),
            next_step="use tinsmith serve and its route /v1/completions",
        )
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a line that is not text in this encoding ends no talk
    source, sink = source or sys.stdin, sink or sys.stdout
    with served_model(gguf) as server, server.client() as client:
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
            question = {"role": "user", "content": line}
            body = {
                "messages": [*messages, question],
                "temperature": temperature,
                "max_tokens": max_tokens,
            }
            try:
                answer = _answer(client, body, sink)
            except _NoAnswer as reason:
                print(f"[{reason}]", file=sink, flush=True)
                continue
            messages += [question, {"role": "assistant", "content": answer}]


class _NoAnswer(Exception):
    """A question got no answer, and why; the talk goes on without it."""


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
        # Half of a surrogate pair cannot be sent.
        yield line.encode("utf-8", "replace").decode("utf-8").strip()


def _answer(client: httpx.Client, body: dict[str, object], sink: TextIO) -> str:
    """Print an answer as it streams; return it, or its part before Ctrl-C. Raises _NoAnswer."""
    pieces: list[str] = []
    try:
        with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as reply:
            if reply.status_code != 200:
                raise _refusal(reply.read())
            for piece in _deltas(reply):
                pieces.append(piece)
                print(piece, end="", file=sink, flush=True)
    except KeyboardInterrupt:
        if not pieces:
            raise _NoAnswer("stopped") from None
        print(" [stopped]", end="", file=sink)
    except httpx.TransportError as error:
        raise _NoAnswer(f"the model's server does not answer ({type(error).__name__}); ask again") from error
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


def _refusal(body: bytes) -> _NoAnswer:
    error = json.loads(body)["error"]
    too_long = error["code"] == "context_length_exceeded"
    return _NoAnswer(error["message"] + (", or start over with /new" if too_long else ""))
