"""Serve a model over HTTP: OpenAI's routes, and a page to try the model.

This service is a proxy before llama.cpp's server, which has dozens of routes, answers any web page (CORS *) and
compares keys byte by byte. So that server listens on loopback under a random key, and this one offers three routes, no
CORS, and a key compared in constant time. On loopback it answers only requests for a loopback name, which stops web
pages that rebind a host name.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from tinsmith.base.errors import RunError
from tinsmith.gguf.header import read_metadata
from tinsmith.serve.runtime import ONE_REQUEST_EACH, LlamaServer, find_gguf

# The page may only connect to the server that it came from.
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
_MAX_BODY_BYTES = 8_000_000
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class _Refusal(Exception):
    """An error response in OpenAI's format."""

    def __init__(
        self, status: int, message: str, code: str | None = None, *, type: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": type, "param": None, "code": code}}


def create_app(backend: LlamaServer, *, api_key: str | None, hosts: frozenset[str] | None = None) -> FastAPI:
    """Return the app for a running server; `hosts` are the only host names that it answers to (None: any)."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        headers = {"Authorization": f"Bearer {backend.api_key}"}
        timeout = httpx.Timeout(5.0, read=None)
        async with httpx.AsyncClient(
            base_url=backend.base_url,
            headers=headers,
            timeout=timeout,
            trust_env=False,
            limits=ONE_REQUEST_EACH,
        ) as client:
            app.state.client = client
            yield

    async def guard(request: Request) -> None:
        _check_host(request, hosts)
        if request.url.path.startswith("/v1/"):
            _check_key(request, api_key)

    app = FastAPI(
        lifespan=lifespan, dependencies=[Depends(guard)], docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.model, app.state.started = backend.settings["alias"], int(time.time())
    app.state.chats = "tokenizer.chat_template" in read_metadata(backend.gguf)
    _add_routes(app, needs_key=bool(api_key))
    return app


def _add_routes(app: FastAPI, *, needs_key: bool) -> None:
    page = files("tinsmith.serve").joinpath("page/index.html").read_text(encoding="utf-8")

    @app.exception_handler(_Refusal)
    async def refuse(request: Request, refusal: _Refusal) -> Response:
        return JSONResponse(refusal.body, refusal.status)

    @app.get("/")
    async def index() -> Response:
        headers = {"Content-Security-Policy": _PAGE_POLICY, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(page, headers=headers)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "needs_key": needs_key, "chats": app.state.chats, "model": app.state.model}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model_entry(app)]}

    @app.get("/v1/models/{name}")
    async def one_model(name: str) -> dict[str, Any]:
        _check_model(app, name)
        return _model_entry(app)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await _read_body(app, request)
        if not app.state.chats:
            raise _Refusal(400, "this model has no chat template; use /v1/completions", "no_chat")
        return await _forward(app, "/v1/chat/completions", body)

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        return await _forward(app, "/v1/completions", await _read_body(app, request))

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    async def unknown(path: str) -> Response:
        raise _Refusal(404, f"unknown route /{path}; see /v1/models, /v1/chat/completions", "unknown_url")


def serve(
    bundle_or_gguf: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    api_key: str | None = None,
    format: str | None = None,
) -> None:
    """Serve a bundle's model or a GGUF file until Ctrl-C. Raises BundleError, AssetError, RunError."""
    gguf = find_gguf(bundle_or_gguf, format)
    # Bind before loading the model, so that a port in use is reported at once.
    sock = _bind(host, port)
    with sock, LlamaServer(gguf, alias=model_name(bundle_or_gguf, gguf), slots=2) as backend:
        app = create_app(backend, api_key=api_key, hosts=_LOOPBACK_NAMES if _is_loopback(host) else None)
        address, number = sock.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        print(f"serving {gguf.name} on http://{shown}:{number} (Ctrl-C to stop)", flush=True)
        if not _is_loopback(host) and not api_key:
            print(
                "  anyone who can reach this address can use the model; set --api-key to require a key",
                flush=True,
            )
        # An answer that is still streaming must not keep the server from stopping.
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        try:
            uvicorn.Server(config).run(sockets=[sock])
        except KeyboardInterrupt:
            print("stopped", flush=True)


def model_name(bundle_or_gguf: Path, gguf: Path) -> str:
    """Return the model's name in the API: run and format of a bundle, or the file's name."""
    if bundle_or_gguf.is_file():
        return gguf.stem
    directory = bundle_or_gguf.resolve()
    # In a run it is runs/NAME/bundle; a bundle that was moved takes its folder's name.
    run = directory.parent.name if directory.name == "bundle" else directory.name
    return f"{run}-{gguf.stem.removeprefix('model-')}"


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, type, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, type, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except (OSError, OverflowError) as error:
        raise RunError(
            f"cannot listen on this address ({error})",
            where=f"{host}:{port}",
            next_step="choose another --port",
        ) from error
    return sock


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_host(request: Request, hosts: frozenset[str] | None) -> None:
    if hosts is not None and request.url.hostname not in hosts:
        raise _Refusal(421, f"{request.url.hostname} is not a name of this server", "wrong_host")


def _check_key(request: Request, api_key: str | None) -> None:
    if not api_key:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    correct = hmac.compare_digest(given.strip().encode(), api_key.encode())
    if scheme.lower() != "bearer" or not correct:
        message = "wrong API key" if given else "no API key; send Authorization: Bearer KEY"
        raise _Refusal(401, message, "invalid_api_key")


def _check_model(app: FastAPI, name: str) -> None:
    if name != app.state.model:
        raise _Refusal(404, f"unknown model {name!r}; this server has {app.state.model!r}", "model_not_found")


def _model_entry(app: FastAPI) -> dict[str, Any]:
    return {"id": app.state.model, "object": "model", "created": app.state.started, "owned_by": "tinsmith"}


async def _read_body(app: FastAPI, request: Request) -> dict[str, Any]:
    # A browser sends other types across origins without a preflight; for JSON it needs one, which is refused.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _Refusal(415, "send application/json")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_BODY_BYTES:
            raise _Refusal(413, f"the request has more than {_MAX_BODY_BYTES:,} bytes")
    try:
        body = json.loads(data)
    except ValueError as error:
        raise _Refusal(400, f"not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise _Refusal(400, "send a JSON object")
    if "model" in body:
        _check_model(app, str(body["model"]))
    return body


async def _forward(app: FastAPI, path: str, body: dict[str, Any]) -> Response:
    """Forward a request and return the answer, piece by piece if it streams."""
    client: httpx.AsyncClient = app.state.client
    try:
        answer = await client.send(client.build_request("POST", path, json=body), stream=True)
    except httpx.TransportError as error:
        raise _Refusal(502, f"the model's server does not answer ({error})", type="server_error") from error
    media = answer.headers.get("content-type", "application/json")
    if media.startswith("text/event-stream"):
        return StreamingResponse(_pieces(answer), answer.status_code, media_type=media)
    content = await answer.aread()
    await answer.aclose()
    return Response(content, answer.status_code, media_type=media)


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    # Closing the answer when the client disconnects makes llama.cpp stop generating.
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()
