"""Serve a model to this process alone: the service of `tinsmith serve` on loopback, under a random key."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import httpx
import uvicorn

from tinsmith.base.errors import RunError
from tinsmith.serve.api import create_app
from tinsmith.serve.runtime import ONE_REQUEST_EACH, LlamaServer

_START_SECONDS, _POLL_SECONDS = 60.0, 0.01


class ServedModel:
    """Run the service over a GGUF file in a thread, for a `with` block.

    Whoever asks a model goes through it, so that all read a conversation as the trainer does. `slots` requests are
    answered at once, each of up to `context` tokens (0: the model's own).
    Raises AssetError for a file that llama.cpp cannot open, RunError if the service does not get ready.
    """

    def __init__(self, gguf: Path, *, context: int = 0, slots: int = 1) -> None:
        self.base_url, self.api_key = "", secrets.token_urlsafe(24)
        self._backend = LlamaServer(gguf, context=slots * context, slots=slots, shared=slots == 1)
        self._stack = ExitStack()

    def __enter__(self) -> ServedModel:
        with ExitStack() as stack:
            backend = stack.enter_context(self._backend)
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            app = create_app(backend, api_key=self.api_key, hosts=frozenset({"127.0.0.1"}))
            config = uvicorn.Config(
                app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan="on"
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            stack.callback(_stop, server, thread)
            _wait(server, thread, str(self._backend.gguf))
            self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self, timeout: float = 300.0) -> httpx.Client:
        """Return an HTTP client with the address and key."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return httpx.Client(
            base_url=self.base_url, headers=headers, timeout=timeout, trust_env=False, limits=ONE_REQUEST_EACH
        )


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


def _stop(server: uvicorn.Server, thread: threading.Thread) -> None:
    server.should_exit = True
    thread.join()
