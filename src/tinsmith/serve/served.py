"""Serve a model to this process alone: the service of `tinsmith serve` on loopback, under a random key.

Whoever asks a model goes through it, so that all read a conversation as the trainer does.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn

from tinsmith.base.errors import RunError
from tinsmith.gguf.vocabulary import read_vocabulary
from tinsmith.serve.api import create_app
from tinsmith.serve.runtime import ONE_REQUEST_EACH, LlamaServer

_START_SECONDS, _POLL_SECONDS = 60.0, 0.01


@dataclass(frozen=True)
class Service:
    """A running service: its address and its key."""

    base_url: str
    api_key: str = field(repr=False)

    def client(self, timeout: float = 300.0) -> httpx.Client:
        """Return an HTTP client with the address and key."""
        return httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {self.api_key}"},
            timeout=timeout,
            trust_env=False,
            limits=ONE_REQUEST_EACH,
        )


@contextmanager
def served_model(
    gguf: Path, *, context: int = 0, slots: int = 1, plain_chats: bool = False
) -> Iterator[Service]:
    """Serve a GGUF file; `slots` requests are answered at once, each of up to `context` tokens (0: the model's own).

    With `plain_chats`, a model without a chat template reads conversations as plain text. Raises AssetError for a file
    that cannot be opened, RunError if the service does not get ready.
    """
    assert context or slots == 1
    read_vocabulary(gguf)  # an unknown one is refused before anything starts
    with (
        LlamaServer(gguf, context=slots * context, slots=slots, shared=slots == 1) as backend,
        service(backend, plain_chats=plain_chats) as found,
    ):
        yield found


@contextmanager
def service(backend: LlamaServer, *, plain_chats: bool = False) -> Iterator[Service]:
    """Run the service before a running server, in a thread. Raises RunError if it does not get ready."""
    key = secrets.token_urlsafe(24)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = create_app(backend, api_key=key, hosts=frozenset({"127.0.0.1"}), plain_chats=plain_chats)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            _wait(server, thread, str(backend.gguf))
            yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", key)
        finally:
            server.should_exit = True
            thread.join()


def _wait(server: uvicorn.Server, thread: threading.Thread, where: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RunError(
                "the service does not get ready",
                where=where,
                next_step="try again when the machine is less busy",
            )
        time.sleep(_POLL_SECONDS)
